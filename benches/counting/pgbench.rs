//! The registry's load, by pgbench: its published rates of SELECT and INSERT.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::stats::Sorted;

/// Scripts, and how many of each a second.
const SCRIPTS: [(&str, &str, u32); 6] = [
    ("select", include_str!("select.sql"), 300),
    ("layers", include_str!("layers.sql"), 220),
    ("repository", include_str!("repository.sql"), 220),
    ("blob", include_str!("blob.sql"), 6),
    ("manifest", include_str!("manifest.sql"), 6),
    ("layer", include_str!("layer.sql"), 10),
];

const CLIENTS: &str = "8";

/// Plays the load for so long on so many repositories; gives the latency of its transactions.
pub async fn play(port: u16, repositories: u64, span: Duration) -> Sorted<Duration> {
    let dir = tempfile::tempdir().expect("makes a directory");
    let mut command = Command::new(program());
    command.current_dir(&dir).args(["-h", "127.0.0.1", "-U", "postgres", "-n", "-c", CLIENTS]);
    command.args(["-D", &format!("repositories={repositories}")]);
    command.args(["-D", &format!("namespaces={}", (repositories / 5).max(1))]);
    command.args(["-p", &port.to_string(), "-T", &span.as_secs().to_string(), "-l", "--log-prefix", "log"]);
    let rate: u32 = SCRIPTS.iter().map(|(.., rate)| rate).sum();
    command.args(["-R", &rate.to_string()]);
    for (name, text, rate) in SCRIPTS {
        fs::write(dir.path().join(name), text).expect("writes a script");
        command.arg("-f").arg(format!("{name}@{rate}"));
    }
    let output = command.arg("registry").stdin(Stdio::null()).output().await.expect("pgbench starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Sorted::new(latencies(dir.path()))
}

/// The third column of its logs: from when it was due.
fn latencies(dir: &Path) -> Vec<Duration> {
    let files = fs::read_dir(dir).expect("lists the logs").flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log")));
    let mut all = Vec::new();
    for log in logs {
        for line in fs::read_to_string(log).expect("reads a log").lines() {
            let column = line.split(' ').nth(2).and_then(|text| text.parse().ok());
            all.push(Duration::from_micros(column.unwrap_or_else(|| panic!("a line of pgbench: {line}"))));
        }
    }
    all
}

/// Debian keeps it with the server.
fn program() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|entry| entry.path().join("bin/pgbench")).filter(|path| path.is_file()).max();
    found.unwrap_or_else(|| "pgbench".into())
}
