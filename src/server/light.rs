//! A socket that takes little memory, for streams that mostly wait.
//!
//! tokio keeps 256 bytes for each socket, aligned to 128 bytes, so that sockets that are busy on different cores do not
//! disturb each other. A stream is seldom busy. On Unix, its socket moves from tokio to a poll that all streams of a runtime
//! share (`poller`), where it takes 48 bytes. tokio watches that poll as a single file.

#[cfg(unix)]
mod outbox;
#[cfg(unix)]
mod poller;
#[cfg(unix)]
mod slot;

#[cfg(not(unix))]
#[path = "light/elsewhere.rs"]
mod socket;
#[cfg(unix)]
#[path = "light/unix.rs"]
mod socket;

use std::{any::Any, io};

use tokio::net::TcpStream;

pub(super) use self::socket::Light;

/// Turns the I/O of a connection into a light socket if it is a tokio TCP connection. Otherwise, or if the system can't poll
/// the socket, returns it unchanged.
pub(super) fn lighten<T: 'static>(io: T) -> io::Result<Result<Light, T>> {
    match cast::<T, TcpStream>(io) {
        Ok(tcp) => match Light::new(tcp)? {
            Ok(light) => Ok(Ok(light)),
            Err(tcp) => Ok(Err(back(tcp)?)),
        },
        Err(io) => Ok(Err(io)),
    }
}

/// Turns a light socket back into the I/O that it was made of.
pub(super) fn restore<T: 'static>(light: Light) -> io::Result<T> {
    back(light.into_tcp()?)
}

fn back<T: 'static>(tcp: TcpStream) -> io::Result<T> {
    // A light socket is always made of this type.
    cast(tcp).map_err(|_| io::ErrorKind::Unsupported.into())
}

/// Downcasts a value to a type that it may have.
fn cast<A: 'static, B: 'static>(value: A) -> Result<B, A> {
    let mut value = Some(value);
    let cast = (&mut value as &mut dyn Any).downcast_mut::<Option<B>>().and_then(Option::take);
    cast.ok_or_else(|| value.expect("it is still here, because it has another type"))
}
