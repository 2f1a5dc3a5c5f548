//! The options of sockets.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::settings::{LONGEST, Settings};

/// The options that a server wants on the sockets of its connections. It passes them to
/// [`Listener::prepare`](super::Listener::prepare) and [`Listener::tune`](super::Listener::tune).
///
/// [`Default`] returns the options of a server with the default [limits](super::Builder). Later versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The [stall timeout](super::Builder::stall_timeout). `None` or zero turns it off. The server passes `None` if it is off.
    /// The default is 30 seconds.
    pub stall_timeout: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl SocketOptions {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { stall_timeout: Some(settings.stall_timeout).filter(|timeout| *timeout < LONGEST) }
    }

    /// Sets the options of a connection, or those that the connections of a listener inherit.
    pub(super) fn set<'a, T>(&self, socket: &'a T) -> io::Result<()>
    where
        SockRef<'a>: From<&'a T>,
    {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&self.probes())?;
        // Set last, because `are_inherited` takes it as proof of the others.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(self.user_timeout()))?;
        Ok(())
    }

    /// Returns whether a connection has inherited the options from a prepared listener.
    #[cfg(target_os = "linux")]
    pub(super) fn are_inherited(&self, tcp: &TcpStream) -> bool {
        SockRef::from(tcp).tcp_user_timeout().is_ok_and(|timeout| timeout == Some(self.user_timeout()))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn are_inherited(&self, _: &TcpStream) -> bool {
        false
    }

    /// Returns the value of `TCP_USER_TIMEOUT`. The system counts in milliseconds, and takes zero for its own default.
    #[cfg(target_os = "linux")]
    fn user_timeout(&self) -> Duration {
        let millis = u64::try_from(self.timeout().as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(millis.max(1))
    }

    /// Probes a peer that has sent nothing for the stall timeout: three times within as long again, where the system allows
    /// that.
    fn probes(&self) -> TcpKeepalive {
        // The system counts in seconds, and does not accept zero.
        let seconds = |time: Duration| time.max(Duration::from_secs(1));
        TcpKeepalive::new().with_time(seconds(self.timeout())).with_interval(seconds(self.timeout() / 3))
    }

    /// Returns the stall timeout, as far as systems accept it. As in a builder, zero is off.
    fn timeout(&self) -> Duration {
        self.stall_timeout.filter(|timeout| !timeout.is_zero()).map_or(MOST, |timeout| timeout.min(MOST))
    }
}

/// The longest time between probes that systems accept: nine hours, since Linux accepts at most 32,767 seconds. A peer that
/// has vanished should not stay for longer anyway.
const MOST: Duration = Duration::from_secs(9 * 3600);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::server::Listener;

    const STALL: Duration = Duration::from_secs(17);

    fn options() -> SocketOptions {
        SocketOptions { stall_timeout: Some(STALL) }
    }

    fn of(tcp: &TcpStream) -> (bool, Option<Duration>, (bool, Duration), Duration) {
        let socket = SockRef::from(tcp);
        let keepalive = (socket.keepalive().unwrap(), socket.tcp_keepalive_time().unwrap());
        let timeout = socket.tcp_user_timeout().unwrap();
        (socket.tcp_nodelay().unwrap(), timeout, keepalive, socket.tcp_keepalive_interval().unwrap())
    }

    #[tokio::test]
    async fn the_connections_of_a_prepared_listener_have_the_options_of_tuned_ones() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.prepare(&options());
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        assert_eq!(of(&accepted), (true, Some(STALL), (true, STALL), Duration::from_secs(5)));
        assert!(options().are_inherited(&accepted) && !options().are_inherited(&client));
        listener.tune(&client, &options()).unwrap();
        assert_eq!(of(&client), of(&accepted));
    }

    #[tokio::test]
    async fn a_timeout_of_zero_is_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for stall_timeout in [None, Some(Duration::ZERO)] {
            listener.tune(&client, &SocketOptions { stall_timeout }).unwrap();
            assert_eq!(of(&client), (true, Some(MOST), (true, MOST), MOST / 3), "{stall_timeout:?}");
        }
    }

    /// The system establishes connections before the server accepts them.
    #[tokio::test]
    async fn connections_that_came_before_the_listener_was_prepared_have_the_options_too() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        listener.prepare(&options());
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        listener.tune(&accepted, &options()).unwrap();
        assert_eq!(of(&accepted), (true, Some(STALL), (true, STALL), Duration::from_secs(5)));
    }
}
