//! How the load generator tells a server what to publish: lines on a connection of its own, the same for all servers.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// Rounds of events. Each round has `burst` events for each of `streams` streams from number `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    pub first: u32,
    pub streams: u32,
    pub burst: u32,
    pub rounds: u32,
    /// The time between the beginnings of two rounds; if zero, rounds follow each other directly.
    pub interval: Duration,
    /// Whether a stream is a client of channel 0 instead of a channel.
    pub targeted: bool,
    /// Whether the CPU time of each call is recorded.
    pub timed: bool,
    /// Whether to answer with the first event's id once all are published.
    pub answered: bool,
}

impl Publish {
    pub fn one_to(stream: u32) -> Self {
        Self {
            first: stream,
            streams: 1,
            burst: 1,
            rounds: 1,
            interval: Duration::ZERO,
            targeted: false,
            timed: false,
            answered: false,
        }
    }
}

/// A command, which is one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Publish(Publish),
    /// To answer with the median of the recorded CPU times, in nanoseconds.
    Times,
}

impl Command {
    pub fn write(&self) -> String {
        match self {
            Self::Times => "T\n".into(),
            Self::Publish(publish) => {
                let Publish { first, streams, burst, rounds, interval, targeted, timed, answered } = *publish;
                let flags = u32::from(targeted) | u32::from(timed) << 1 | u32::from(answered) << 2;
                format!("P {first} {streams} {burst} {rounds} {} {flags}\n", interval.as_micros())
            }
        }
    }

    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        match words.next()? {
            "T" => Some(Self::Times),
            "P" => {
                let mut number = || words.next()?.parse::<u32>().ok();
                let (first, streams, burst, rounds) = (number()?, number()?, number()?, number()?);
                let interval = Duration::from_micros(number()?.into());
                let flags = number()?;
                let (targeted, timed, answered) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
                let publish = Publish { first, streams, burst, rounds, interval, targeted, timed, answered };
                Some(Self::Publish(publish))
            }
            _ => None,
        }
    }
}

/// The generator's end of the connection.
pub struct Control(BufReader<TcpStream>);

impl Control {
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn send(&mut self, command: Command) -> io::Result<()> {
        self.0.get_mut().write_all(command.write().as_bytes())
    }

    pub fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        line.pop();
        Ok(line)
    }

    pub fn close(&self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }

    pub fn ask(&mut self, command: Command) -> io::Result<String> {
        self.send(command)?;
        self.answer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let publish = Publish { interval: Duration::from_millis(3), timed: true, rounds: 7, ..Publish::one_to(5) };
        for command in [Command::Times, Command::Publish(publish), Command::Publish(Publish::one_to(9))] {
            assert_eq!(Command::read(&command.write()), Some(command));
        }
        assert_eq!(Command::read("P 1 2"), None);
    }
}
