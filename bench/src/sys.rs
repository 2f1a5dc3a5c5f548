//! Parts of Linux that the standard library lacks: scheduling, other processes' clocks, epoll. All unsafe code is here.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Pins this thread to one core.
pub fn pin(core: usize) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is plain bits, for which all zeros is valid; the call reads no more than its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        check(libc::sched_setaffinity(0, size_of_val(&set), &set)).map(drop)
    }
}

/// Under `SCHED_BATCH` a thread that wakes up does not preempt one of normal priority. A load generator that shares the
/// server's core would otherwise preempt it at each write.
pub fn batch(on: bool) -> io::Result<()> {
    let policy = if on { libc::SCHED_BATCH } else { libc::SCHED_OTHER };
    // SAFETY: `sched_param` is plain integers; the call reads it.
    unsafe {
        let param: libc::sched_param = std::mem::zeroed();
        check(libc::sched_setscheduler(0, policy, &param)).map(drop)
    }
}

/// Names this process, so that `perf` and `top` tell the servers apart.
pub fn name(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
    // SAFETY: the call reads a string that ends with a zero byte and outlives the call.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

/// Raises the limit of open files as far as possible, and returns it.
pub fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a `rlimit` that outlives them.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    }
    Ok(limit.rlim_cur)
}

fn clock(id: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into a `timespec` that outlives it.
    check(unsafe { libc::clock_gettime(id, &mut time) })?;
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ok(Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// The CPU time that a process has used, to the nanosecond.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut id: libc::clockid_t = 0;
    // SAFETY: the call writes into an integer that outlives it.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut id) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    clock(id)
}

/// The CPU time of this process and of its children that have ended.
pub fn cpu_of_us() -> io::Result<Duration> {
    let seconds = |time: libc::timeval| {
        let micros = time.tv_sec * 1_000_000 + time.tv_usec;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let mut sum = Duration::ZERO;
    for whose in [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN] {
        // SAFETY: a `rusage` is plain integers, for which zeros are valid; the call writes one that outlives it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            check(libc::getrusage(whose, &mut usage))?;
            usage
        };
        sum += seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    Ok(sum)
}

/// The part of a process's CPU time outside the kernel. The kernel samples it, so it is meaningful from some tenths of
/// a second on.
pub fn user_of(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // It is the twelfth field after the name in parentheses, in hundredths of a second.
    let ticks = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(11)?.parse::<u64>().ok());
    ticks.map(|ticks| Duration::from_millis(10 * ticks)).ok_or_else(|| io::Error::other("no utime in stat"))
}

/// The CPU time of this thread.
pub fn cpu_of_thread() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// Nanoseconds of a clock that all processes share.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A process's own memory and its part of shared memory (`Pss`), in bytes.
pub fn memory_of(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(|| io::Error::other("no Pss in smaps_rollup"))
}

/// Lets a listener's connections send at once. The machine's default may be a congestion control that paces with
/// timers, whose work is charged to whichever process runs at that moment. Every kernel has Reno.
pub fn send_at_once(listener: &impl AsRawFd) -> io::Result<()> {
    let name = b"reno";
    let len = libc::socklen_t::try_from(name.len()).map_err(io::Error::other)?;
    // SAFETY: the call reads `len` bytes of a name that is as long.
    let result = unsafe {
        let option = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
        libc::setsockopt(listener.as_raw_fd(), option.0, option.1, name.as_ptr().cast(), len)
    };
    check(result).map(drop)
}

/// A file that is ready, and for what.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// A level-triggered epoll.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

const READ: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
const WRITE: u32 = libc::EPOLLOUT as u32;

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call has no arguments in memory, and nobody else owns the descriptor that it returns.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024] })
    }

    pub fn add(&self, file: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, file, token, READ)
    }

    /// Also waits for writability, or no longer.
    pub fn wants_write(&self, file: &impl AsRawFd, token: u64, wants: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, file, token, if wants { READ | WRITE } else { READ })
    }

    fn control(&self, what: libc::c_int, file: &impl AsRawFd, token: u64, events: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the call reads an event that outlives it.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, file.as_raw_fd(), &mut event) }).map(drop)
    }

    /// Puts what is ready into `ready`. Waits at most this many milliseconds, or for ever if negative.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout_ms: i32) -> io::Result<()> {
        ready.clear();
        let room = libc::c_int::try_from(self.events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the call writes at most `room` events into a buffer of that length.
        let count = check(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room, timeout_ms) });
        let count = match count {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            count => usize::try_from(count?).unwrap_or(0),
        };
        ready.extend(self.events[..count].iter().map(|event| Ready {
            token: event.u64,
            readable: event.events & !WRITE != 0,
            writable: event.events & WRITE != 0,
        }));
        Ok(())
    }
}
