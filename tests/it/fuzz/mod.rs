//! Every decoder that faces outside, against inputs that nobody should send: no panic, no endless work, no INTERNAL, and
//! what is accepted means one thing only.
//!
//! A short run is part of the tests. `QUEUEGATE_FUZZ=5000000 cargo test --release fuzz -- --nocapture` makes a campaign of
//! so many inputs in all. The command line's own decoders are tried by `src/cli/fuzz.rs`, which the same command runs.

mod credentials;
mod documents;
mod frames;
mod messages;
mod mutate;
mod names;

use std::{
    fs,
    sync::{Mutex, Once, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

/// No wait of these tests has any business lasting so long.
const HANG: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
async fn within<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    timeout(HANG, waited_for).await.unwrap_or_else(|_| panic!("no {what} in {HANG:?}"))
}

/// The panics of threads that are not tests: a server's, of which its clients see no more than a broken stream.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes panics from here on.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // The test runner names the threads of tests after them. What panics in a file of the tests is another test that
            // fails.
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

/// The most memory that this process has held so far, in MiB. All tests share it, so the bound is a generous one.
fn memory_is_bounded() -> u64 {
    const MOST_MIB: u64 = 2_048;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024;
    assert!(peak < MOST_MIB, "{peak} MiB");
    peak
}
