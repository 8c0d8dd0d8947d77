//! Fuzz tests of every decoder of external input: no panic, no endless work, no INTERNAL, and accepted input has
//! exactly one meaning.
//!
//! A short run is part of the tests. `QUEUEGATE_FUZZ=5000000 cargo test --release fuzz -- --nocapture` runs a campaign
//! with this many inputs in total. The same command runs `src/cli/fuzz.rs`, which tests the command line's own
//! decoders.

mod credentials;
mod documents;
pub mod frames;
mod messages;
mod mutate;
mod names;

use std::{
    fs,
    sync::{Mutex, Once, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

/// Upper bound for every wait of these tests.
const HANG: Duration = Duration::from_secs(60);

/// Waits up to a time limit.
async fn within<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    timeout(HANG, waited_for).await.unwrap_or_else(|_| panic!("no {what} in {HANG:?}"))
}

/// The panics of a server's threads, of which its clients see only a broken stream.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records panics from here on.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The test runner names threads after their tests. A panic in a test file is another failing test.
            let is_test = std::thread::current().name().is_some_and(|name| name.contains("::"))
                || info.location().is_some_and(|location| location.file().starts_with("tests/"));
            if !is_test {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(info.to_string());
            }
            print(info);
        }));
    });
}

fn no_panics() {
    assert_eq!(*PANICS.lock().unwrap_or_else(PoisonError::into_inner), Vec::<String>::new());
}

/// The peak memory of this process, in MiB. All tests share the process, so the bound is generous.
fn memory_is_bounded() -> u64 {
    const MAX_MIB: u64 = 2_048;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
    assert!(peak < MAX_MIB, "{peak} MiB");
    peak
}
