//! A server process, as the load generator sees it.

use std::{
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    control::Control,
    server::{Kind, Settings},
    sys,
};

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    /// The process that is measured: the child, or the server that the child publishes to.
    pid: u32,
    pub addr: SocketAddr,
    pub control: Control,
}

impl Server {
    /// Starts a server on a core.
    pub fn start(kind: Kind, settings: Settings, core: usize) -> io::Result<Self> {
        let number = |number: u128| number.to_string();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", kind.name(), "--core", &core.to_string()])
            .args(["--history", &settings.history.to_string()])
            .args(["--keep-alive-ms", &number(settings.keep_alive.as_millis())])
            .args(["--event-size", &settings.event_size.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let mut addrs = line.split_whitespace().filter_map(|addr| addr.parse().ok());
        let (Some(addr), Some(control)) = (addrs.next(), addrs.next()) else {
            return Err(io::Error::other(format!("{} did not start: {line:?}", kind.name())));
        };
        let pid = line.split_whitespace().nth(2).and_then(|pid| pid.parse().ok());
        let pid = pid.unwrap_or(child.id());
        Ok(Self { child, pid, addr, control: Control::connect(control)? })
    }

    pub fn cpu(&self) -> io::Result<Duration> {
        sys::cpu_of(self.pid)
    }

    pub fn user(&self) -> io::Result<Duration> {
        sys::user_of(self.pid)
    }

    pub fn memory(&self) -> io::Result<u64> {
        sys::memory_of(self.pid)
    }

    /// Waits until it is idle.
    pub fn settle(&self) -> io::Result<()> {
        let mut before = self.cpu()?;
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(25));
            let now = self.cpu()?;
            if now - before < Duration::from_micros(200) {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.pid != self.child.id() {
            // The child ends the other process once this connection closes.
            self.control.close();
            let _ = self.child.wait();
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
