//! A server of our own: one process on a temporary directory, under an unprivileged user when we are root. A janitor
//! beside it ends it and removes the directory however we end, so nothing is ever left behind.

use std::{
    fs, io,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use uuid::Uuid;

/// Where servers listen: below the ports that the kernel hands out, so that a port stays ours over a restart.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// The longest that a start or a stop may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a starting or stopping server.
const LOOK: Duration = Duration::from_millis(20);

/// Why a server does not do what it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed.
    #[error("cannot find {program}: install it with `apt-get install {package}`")]
    Missing {
        /// Its name.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The system refused something.
    #[error("cannot {what}")]
    Io {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program ended.
    #[error("{program} ended with {status}; the end of its log:\n{log}")]
    Ended {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The program neither answers nor ends.
    #[error("{program} did not {what} within {}", humantime::format_duration(PATIENCE))]
    Patience {
        /// Its name.
        program: String,
        /// What it should have done.
        what: &'static str,
    },
    /// The database refused a statement.
    #[error("the database refused a statement")]
    Sql(#[from] sqlx::Error),
    /// Redis refused a command.
    #[error("redis refused a command")]
    Redis(#[from] redis::RedisError),
}

/// A process with its directory.
pub(super) struct Server {
    /// For messages.
    program: &'static str,
    /// Ours and the server's alone.
    dir: PathBuf,
    /// Whom the server runs as; `None`: as we do.
    user: Option<(u32, u32)>,
    /// `None` while it is stopped.
    child: Option<Child>,
    /// Ends the server and removes the directory once its input ends.
    janitor: Child,
}

// === impl Server ===

impl Server {
    /// An empty directory of an unprivileged user, when we are root; `end` is the signal that ends the server at once.
    pub(super) fn new(program: &'static str, end: &str) -> Result<Self, Error> {
        let user = geteuid().is_root().then(unprivileged).transpose()?;
        Self::new_as(program, end, user)
    }

    /// An empty directory of ours: for programs of our own, which nobody else may be able to read.
    pub(super) fn new_as_us(program: &'static str, end: &str) -> Result<Self, Error> {
        Self::new_as(program, end, None)
    }

    fn new_as(program: &'static str, end: &str, user: Option<(u32, u32)>) -> Result<Self, Error> {
        let name = Uuid::new_v4().simple().to_string();
        let dir = std::env::temp_dir().join(format!("rowcount-{program}-{}", &name[..12]));
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(io_error("make a temporary directory"))?;
        let janitor = Command::new("sh")
            .args(["-c", include_str!("janitor.sh"), "janitor"])
            .arg(&dir)
            .arg(end)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(io_error("start sh"))?;
        let server = Self { program, dir, user, child: None, janitor };
        server.own(&server.dir)?;
        Ok(server)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file that belongs to the server.
    pub(super) fn write(&self, name: impl AsRef<Path>, contents: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        fs::write(&path, contents)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(io_error(&format!("write {}", path.display())))?;
        self.own(&path)
    }

    /// A program that runs in the directory as the server's user, in a process group of its own, so that Ctrl-C in a
    /// terminal reaches us alone.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Result<Command, Error> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).map_err(io_error("open a log"))?;
        let errors = log.try_clone().map_err(io_error("open a log"))?;
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.dir).env("LC_ALL", "C").process_group(0);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Runs a program to its end.
    pub(super) async fn run(&self, mut command: Command, package: &'static str) -> Result<(), Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| self.no_start(&program, package, error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().map_err(io_error("wait for a process"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Error::Ended { program, status, log: self.log_tail() }),
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Error::Patience { program, what: "end" });
                }
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Starts the server and waits until `ready` says so of its process id.
    pub(super) async fn start(
        &mut self,
        mut command: Command,
        package: &'static str,
        ready: impl AsyncFn(u32) -> bool,
    ) -> Result<(), Error> {
        let child = command.spawn().map_err(|error| self.no_start(self.program, package, error))?;
        let pid = child.id();
        self.child = Some(child);
        self.tell_janitor(&pid.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        while !ready(pid).await {
            if let Some(status) = self.reap()? {
                return Err(Error::Ended { program: self.program.to_owned(), status, log: self.log_tail() });
            }
            if Instant::now() > deadline {
                return Err(Error::Patience { program: self.program.to_owned(), what: "answer" });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Asks the server to end and waits for it.
    pub(super) async fn stop(&mut self, signal: Signal) -> Result<(), Error> {
        self.signal(signal);
        let deadline = Instant::now() + PATIENCE;
        while self.child.is_some() && self.reap()?.is_none() {
            if Instant::now() > deadline {
                return Err(Error::Patience { program: self.program.to_owned(), what: "stop" });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends the server and its children as a crash would.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        // Stopped first, it has no more children after those that are listed.
        self.signal(Signal::STOP);
        let children = self.children();
        self.signal(Signal::KILL);
        children.into_iter().for_each(|pid| signal(pid, Signal::KILL));
        self.stop(Signal::KILL).await
    }

    /// Stops the server and its children where they stand: connections stay open and nothing answers.
    pub(super) fn pause(&self) {
        self.signal(Signal::STOP);
        self.children().into_iter().for_each(|pid| signal(pid, Signal::STOP));
    }

    /// Undoes `pause`.
    pub(super) fn resume(&self) {
        self.children().into_iter().for_each(|pid| signal(pid, Signal::CONT));
        self.signal(Signal::CONT);
    }

    /// Process id; `None` while it is stopped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs; notices when it has ended by itself.
    pub(super) fn is_running(&mut self) -> Result<bool, Error> {
        self.reap()?;
        Ok(self.child.is_some())
    }

    fn signal(&self, how: Signal) {
        if let Some(pid) = self.pid() {
            signal(pid, how);
        }
    }

    fn children(&self) -> Vec<u32> {
        let Some(pid) = self.pid() else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn reap(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait().map_err(io_error("wait for a process"))?;
        if status.is_some() {
            self.child = None;
            // From now on the number may be another's.
            self.tell_janitor("")?;
        }
        Ok(status)
    }

    fn tell_janitor(&mut self, line: &str) -> Result<(), Error> {
        let mut stdin = self.janitor.stdin.as_ref().expect("it is piped and taken only when dropped");
        writeln!(stdin, "{line}").map_err(io_error("talk to sh"))
    }

    fn own(&self, path: &Path) -> Result<(), Error> {
        let Some((uid, gid)) = self.user else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).map_err(io_error(&format!("give {} away", path.display())))
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let lines: Vec<_> = String::from_utf8_lossy(&log).lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn no_start(&self, program: &str, package: &'static str, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { program: program.to_owned(), package },
            _ => Error::Io { what: format!("start {program}"), source },
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.resume();
        drop(self.janitor.stdin.take());
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
        let _ = self.janitor.wait();
    }
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16, Error> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let busy = || io_error("find a free port")(io::ErrorKind::AddrInUse.into());
    (0..1000).map(|_| fastrand::u16(PORTS)).find(free).ok_or_else(busy)
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}

/// Sends a signal; a process that has gone needs none.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// PostgreSQL refuses to run as root: its own user, or nobody.
fn unprivileged() -> Result<(u32, u32), Error> {
    let users = fs::read_to_string("/etc/passwd").map_err(io_error("read /etc/passwd"))?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map_while(|id| id.parse().ok());
        Some((ids.next()?, ids.next()?))
    };
    let nobody = || io_error("find the user postgres or nobody")(io::ErrorKind::NotFound.into());
    find("postgres").or_else(|| find("nobody")).ok_or_else(nobody)
}
