//! Connections that have sent no request yet. They must not block connections with requests.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// The most such connections at a time.
const MAX: usize = 64;

/// The connections, oldest first. If there are more than [`MOST`], the address with the most loses its oldest.
#[derive(Default)]
pub struct Quiet(Mutex<Connections>);

#[derive(Default)]
struct Connections {
    next: u64,
    open: VecDeque<(u64, IpAddr, AbortHandle)>,
}

impl Quiet {
    /// Add a connection. `serve` starts to serve it under its number.
    pub fn add(&self, address: IpAddr, serve: impl FnOnce(u64) -> AbortHandle) {
        let mut connections = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = connections.next;
        connections.next += 1;
        // Within the lock, so that it isn't removed before it is added.
        let serving = serve(number);
        if connections.open.len() >= MAX {
            connections.end_one();
        }
        connections.open.push_back((number, address, serving));
    }

    /// Remove a connection that has sent a request or ended.
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
    async fn the_address_with_the_most_quiet_connections_loses_its_oldest() {
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
        (0..MAX + 3).for_each(|_| add([192, 0, 2, 2]));
        tokio::task::yield_now().await;
        let ended: Vec<_> = open.iter().enumerate().filter(|(_, (_, serving))| serving.is_finished()).collect();
        let ended: Vec<_> = ended.into_iter().map(|(index, (address, _))| (index, *address)).collect();
        assert_eq!(ended, (1..=4).map(|index| (index, [192, 0, 2, 2])).collect::<Vec<_>>());
    }
}
