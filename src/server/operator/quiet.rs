//! Connections that were opened and have not asked anything yet. They must not keep out those that ask.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// How many there may be at once.
const MOST: usize = 64;

/// The connections, oldest first. Past the most that there may be, the oldest of the address that has the most ends.
#[derive(Default)]
pub struct Quiet(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    next: u64,
    open: VecDeque<(u64, IpAddr, AbortHandle)>,
}

impl Quiet {
    /// Adds a connection, which `serve` begins to serve by its number.
    pub fn add(&self, address: IpAddr, serve: impl FnOnce(u64) -> AbortHandle) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = connections.next;
        connections.next += 1;
        // Within the lock, so that it isn't removed before it is there.
        let serving = serve(number);
        if connections.open.len() >= MOST {
            connections.end_one();
        }
        connections.open.push_back((number, address, serving));
    }

    /// Removes a connection: it asked something, or it ended.
    pub fn remove(&self, number: u64) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        connections.open.retain(|(other, ..)| *other != number);
    }
}

impl Connections {
    fn end_one(&mut self) {
        let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
        for (_, address, _) in &self.open {
            *of_address.entry(*address).or_default() += 1;
        }
        let most = of_address.values().max().copied();
        let oldest = self.open.iter().position(|(_, address, _)| of_address.get(address).copied() == most);
        if let Some((_, _, serving)) = oldest.and_then(|oldest| self.open.remove(oldest)) {
            serving.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_most_silent_connections_loses_the_oldest() {
        let quiet = Quiet::default();
        let mut open = Vec::new();
        let mut add = |address: [u8; 4]| {
            quiet.add(address.into(), |_| {
                let serving = tokio::spawn(std::future::pending::<()>());
                let handle = serving.abort_handle();
                open.push((address, serving));
                handle
            });
        };
        add([192, 0, 2, 1]);
        (0..MOST + 3).for_each(|_| add([192, 0, 2, 2]));
        tokio::task::yield_now().await;
        let ended: Vec<_> = open.iter().enumerate().filter(|(_, (_, serving))| serving.is_finished()).collect();
        let ended: Vec<_> = ended.into_iter().map(|(index, (address, _))| (index, *address)).collect();
        assert_eq!(ended, (1..=4).map(|index| (index, [192, 0, 2, 2])).collect::<Vec<_>>());
    }
}
