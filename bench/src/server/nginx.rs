//! nginx with the nchan module, if it is installed. Events are published over HTTP, the only way it has. Its CPU time
//! includes reading those requests; sending them is on this process's account.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::Settings;
use crate::{
    control::{Command, Publish},
    mark::Mark,
    sys,
};

const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub fn is_there() -> bool {
    Path::new(NGINX).exists() && Path::new(MODULE).exists()
}

/// Prints nginx's process number as a third address: that process is measured and ended.
pub fn run(settings: Settings) -> io::Result<()> {
    let control = TcpListener::bind("127.0.0.1:0")?;
    let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let directory = std::env::temp_dir().join(format!("bench-nginx-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let nginx = start(http, &directory, settings)?;
    let connection = connect(http)?;
    println!("{http} {} {}", control.local_addr()?, nginx.id());
    let (stream, _) = control.accept()?;
    stream.set_nodelay(true)?;
    let mut publishing =
        Publishing { settings, connection: BufReader::new(connection), numbers: HashMap::new(), nginx, directory };
    for line in BufReader::new(stream.try_clone()?).lines() {
        let answer = match Command::read(&line?) {
            Some(Command::Publish(publish)) => publishing.run(publish)?,
            _ => Some("0"),
        };
        if let Some(answer) = answer {
            (&stream).write_all(format!("{answer}\n").as_bytes())?;
        }
    }
    Ok(())
}

fn start(http: SocketAddr, directory: &Path, settings: Settings) -> io::Result<Child> {
    let Settings { history, keep_alive, .. } = settings;
    let (dir, ping) = (directory.display(), keep_alive.as_secs().max(1));
    let conf = format!(
        "daemon off; master_process off; worker_rlimit_nofile 20000; error_log stderr crit; pid {dir}/pid;
        load_module {MODULE};
        events {{ worker_connections 19000; multi_accept on; }}
        http {{
            access_log off; tcp_nodelay on; keepalive_requests 1000000000; nchan_max_reserved_memory 512M;
            client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir};
            scgi_temp_path {dir};
            server {{
                listen {http} backlog=4096;
                nchan_message_buffer_length {history}; nchan_message_timeout 1h;
                location ~ ^/sse/([^/]+)$ {{
                    nchan_subscriber eventsource; nchan_channel_id $1; nchan_subscriber_first_message newest;
                    nchan_eventsource_ping_interval {ping};
                }}
                location ~ ^/pub/([^/]+)$ {{ nchan_publisher; nchan_channel_id $1; }}
            }}
        }}\n"
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, conf)?;
    Process::new(NGINX).arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// Connects, once it listens.
fn connect(http: SocketAddr) -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(http) {
            Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}

struct Publishing {
    settings: Settings,
    /// The connection to nginx, which is kept alive.
    connection: BufReader<TcpStream>,
    /// How many events each stream has had.
    numbers: HashMap<u32, u32>,
    nginx: Child,
    directory: PathBuf,
}

impl Publishing {
    fn run(&mut self, publish: Publish) -> io::Result<Option<&'static str>> {
        if publish.targeted {
            return Err(io::Error::other("nchan has no events for one client of a channel"));
        }
        let begin = Instant::now();
        for round in 1..=publish.rounds {
            for _ in 0..publish.burst {
                for stream in publish.first..publish.first + publish.streams {
                    self.one(stream)?;
                }
            }
            sleep((begin + publish.interval * round).saturating_duration_since(Instant::now()));
        }
        // It does not tell a publisher the ids.
        Ok(publish.answered.then_some(""))
    }

    fn one(&mut self, stream: u32) -> io::Result<()> {
        let number = self.numbers.entry(stream).or_default();
        let data = Mark { stream, number: *number, at: sys::now() }.data(self.settings.event_size);
        *number += 1;
        let len = data.len();
        let request = format!("POST /pub/c{stream} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n{data}");
        self.connection.get_mut().write_all(request.as_bytes())?;
        self.response()
    }

    fn response(&mut self) -> io::Result<()> {
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if self.connection.read_line(&mut line)? == 0 {
                return Err(io::Error::other("nginx closed the connection"));
            }
            if line == "\r\n" {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut self.connection.by_ref().take(length), &mut io::sink()).map(drop)
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        let _ = self.nginx.kill();
        let _ = self.nginx.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
