//! The commands of the service itself: serve and config. What is wrong with the configuration is listed whole, and exits
//! with 78 (EX_CONFIG).

use crate::{
    app,
    config::{self, Loaded, Problems, ServeArgs},
};

use super::output::{Format, Output, note};

/// EX_CONFIG of sysexits.h.
pub const EX_CONFIG: u8 = 78;

/// Runs the service; it logs the warnings itself.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    app::serve(config::load(&args, config::environment())?).await
}

/// Prints the effective settings.
pub fn config(args: &ServeArgs) -> anyhow::Result<()> {
    let loaded = load(args)?;
    Ok(Output::new(Format::Table).lines(loaded.render().lines().map(str::to_owned))?)
}

/// The settings; what is odd about them goes to stderr.
pub fn load(args: &ServeArgs) -> Result<Loaded, Problems> {
    let loaded = config::load(args, config::environment())?;
    for warning in &loaded.warnings {
        note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}
