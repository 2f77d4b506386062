//! What a load plays, and how much of it.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    Error,
    mix::Mix,
    player::Role,
    script::Size,
    share::{self, Share},
};

/// What to play.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which requests.
    pub mix: Mix,
    /// How many times as many: at 1 about 303 requests a second.
    pub multiple: f64,
    /// Connections to the database; each plays one request at a time.
    pub connections: usize,
    /// Decides when what is played, and what reads read.
    pub seed: u64,
    /// Of kinds whose labels are the same; the mix has its own for the rest.
    pub shares: Vec<Share>,
    /// Layers of an image that is pushed.
    pub layers: usize,
    /// Children of an index that is pushed.
    pub children: usize,
    /// Where `/metrics` is served; with port 0 on a free one.
    pub listen: SocketAddr,
}

// === impl LoadOptions ===

impl Default for LoadOptions {
    /// The mix of 2020 as it was measured.
    fn default() -> Self {
        Self {
            mix: Mix::default(),
            multiple: 1.0,
            connections: 8,
            seed: 0,
            shares: Vec::new(),
            layers: 10,
            children: 2,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

impl LoadOptions {
    /// Whether this can be played on any database.
    pub fn validate(&self) -> Result<(), Error> {
        let Self { mix, multiple, connections, seed: _, shares, layers, children, listen: _ } = self;
        let refuse = |name, range, value: String| Err(Error::Option { name, range, value });
        if !(*multiple > 0.0 && *multiple <= 1000.0) {
            return refuse("multiple", "more than 0 and at most 1000", multiple.to_string());
        }
        for (name, value) in [("connections", connections), ("layers", layers), ("children", children)] {
            if !(1..=1000).contains(value) {
                return refuse(name, "from 1 to 1000", value.to_string());
            }
        }
        share::apply(*mix, shares)?;
        Ok(())
    }

    /// The kinds that are played, with their rates.
    pub(super) fn roles(&self) -> Result<Vec<Role>, Error> {
        let size = self.size();
        let shares = share::apply(self.mix, &self.shares)?;
        let mut roles = Vec::new();
        for (pair, shares) in self.mix.pairs().iter().zip(shares) {
            for (part, share) in pair.kinds.iter().zip(shares) {
                let rate = pair.rate * share * self.multiple;
                if rate > 0.0 {
                    roles.push(Role { kind: pair.kind(part), about: part.about, script: (part.script)(size), rate });
                }
            }
        }
        Ok(roles)
    }

    pub(super) fn size(&self) -> Size {
        Size { layers: self.layers, children: self.children }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_their_range_are_refused_by_their_names() {
        let refused = |options: LoadOptions| options.validate().unwrap_err().to_string();
        for multiple in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = refused(LoadOptions { multiple, ..Default::default() });
            assert_eq!(message, format!("multiple must be more than 0 and at most 1000, not {multiple}"));
        }
        assert!(refused(LoadOptions { connections: 0, ..Default::default() }).starts_with("connections must"));
        assert!(refused(LoadOptions { layers: 0, ..Default::default() }).starts_with("layers must"));
        assert!(refused(LoadOptions { children: 1001, ..Default::default() }).starts_with("children must"));
        assert!(LoadOptions::default().validate().is_ok());
    }

    #[test]
    fn kinds_that_are_never_asked_for_have_no_role() {
        let roles = |mix| LoadOptions { mix, ..Default::default() }.roles().unwrap();
        assert!(roles(Mix::Published2020).iter().all(|role| role.kind.handler != "catalog"));
        assert!(roles(Mix::Registry432).iter().all(|role| role.kind.name != "new index by digest"));
        let rate: f64 = roles(Mix::Registry432).iter().map(|role| role.rate).sum();
        assert!((rate - 303.0).abs() < 1.0, "{rate}");
    }
}
