//! Whether other processes used the machine: a sample that they disturbed is taken again.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use crate::sys;

/// Measures what other processes use of all cores.
pub struct Others {
    begin: Instant,
    busy: Duration,
    ours: Duration,
}

impl Others {
    pub fn watch() -> io::Result<Self> {
        Ok(Self { begin: Instant::now(), busy: busy()?, ours: sys::cpu_of_us()? })
    }

    /// How much of one core they used since. Our servers have to be gone by then, as they are counted once they are.
    pub fn share(&self) -> io::Result<f64> {
        let others = (busy()? - self.busy).saturating_sub(sys::cpu_of_us()? - self.ours);
        Ok(others.as_secs_f64() / self.begin.elapsed().as_secs_f64().max(0.05))
    }
}

/// The part of a core that counts as a disturbance. The kernel counts in hundredths of a second.
pub const TOO_MUCH: f64 = 0.08;

/// Waits for a quiet moment, but no longer than this.
pub fn wait(patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let others = Others::watch()?;
        std::thread::sleep(Duration::from_millis(150));
        if others.share()? < TOO_MUCH {
            break;
        }
    }
    Ok(())
}

/// The time that all cores together were busy.
fn busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal guest guest_nice; the last two are included in the first two.
    let worked = ticks.iter().take(8).enumerate().filter(|(column, _)| !matches!(column, 3 | 4));
    Ok(Duration::from_millis(10 * worked.map(|(_, ticks)| *ticks).sum::<u64>()))
}
