//! `rowcount demo` through its front door: what it checks, and what is left when it ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

#[test]
fn a_demo_checks_every_count_and_a_hand_over_and_leaves_nothing_behind() {
    let dir = temporary();
    let demo = start(&dir, &["--instances", "2", "--for", "3s"]);
    let output = demo.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let checked: Vec<_> = stdout.lines().filter(|line| line.starts_with("Checked: ")).collect();
    assert_eq!(checked.len(), 3, "{stdout}");
    assert!(checked[0].ends_with("all 19 counts are COUNT(*)'s."), "{stdout}");
    assert!(checked[1].contains(" was killed and "), "{stdout}");
    assert_eq!(entries(dir.path()), 0);
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    let dir = temporary();
    let mut demo = start(&dir, &[]);
    until("the database runs", || !postmasters(dir.path()).is_empty());
    let postmasters = postmasters(dir.path());
    demo.kill().unwrap();
    demo.wait().unwrap();
    until("its directories are gone", || entries(dir.path()) == 0);
    until("its database is gone", || postmasters.iter().all(|pid| !Path::new("/proc").join(pid).exists()));
}

/// A temporary directory in which another user may make directories' children: the servers run under one.
fn temporary() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn start(dir: &TempDir, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rowcount"))
        .arg("demo")
        .args(args)
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Process ids of the databases that run on directories in `dir`.
fn postmasters(dir: &Path) -> Vec<String> {
    let servers = fs::read_dir(dir).unwrap().flatten();
    let files = servers.filter_map(|server| fs::read_to_string(server.path().join("data/postmaster.pid")).ok());
    files.filter_map(|file| Some(file.lines().next()?.to_owned())).collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
