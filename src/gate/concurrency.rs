//! How many there are at once: connections of one client, and requests in all. What is counted ends with what it is counted
//! for, so that nothing is kept of who has left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many connections, or requests, each client has of those that are there.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// One connection or request of a client.
pub(crate) struct Seat {
    clients: Arc<Clients>,
    of: IpAddr,
}

impl Clients {
    /// Lets one more of a client in, if it has fewer than `most`.
    pub fn seat(self: &Arc<Self>, addr: IpAddr, most: usize) -> Option<Seat> {
        let of = one_client(addr);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Seat {
            clients: self.clone(),
            of,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self
            .clients
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.of) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What counts as one client: an address of IPv4, and of IPv6 the 64 bits that one network has, as any host in it has the rest.
pub(crate) fn one_client(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << 64)).into(),
        four @ IpAddr::V4(_) => four,
    }
}

/// How many requests there are.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<AtomicUsize>);

/// One request, from its head to the end of its answer.
pub(crate) struct RequestSlot(Arc<AtomicUsize>);

impl Requests {
    /// Lets one more in, if there are fewer than `most`.
    pub fn slot(&self, most: usize) -> Option<RequestSlot> {
        let more = |count: usize| (count < most).then_some(count + 1);
        let taken = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| RequestSlot(self.0.clone()))
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_as_many_connections_as_it_may_and_nothing_is_kept_of_who_left() {
        let clients = Arc::new(Clients::default());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let seats: Vec<_> = ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"]
            .map(|addr| clients.seat(ip(addr), 2).expect(addr))
            .into();
        let cases = [
            ("203.0.113.7", false),         // two already, one of them written as IPv6
            ("203.0.113.8", true),          // another
            ("2001:db8::ffff:0:0:2", true), // the second of the network
            ("2001:db8:0:1::1", true),      // the network beside it
        ];
        for (addr, let_in) in cases {
            assert_eq!(clients.seat(ip(addr), 2).is_some(), let_in, "{addr}");
        }
        drop(seats);
        assert!(clients.seat(ip("203.0.113.7"), 1).is_some());
        assert!(clients.0.lock().unwrap().is_empty());
    }

    #[test]
    fn there_are_as_many_requests_as_there_may_be() {
        let requests = Requests::default();
        let first = requests.slot(2).unwrap();
        let second = requests.slot(2).unwrap();
        assert!(requests.slot(2).is_none());
        assert!(requests.slot(3).is_some(), "a reload may allow more");
        drop((first, second));
        assert!(requests.slot(1).is_some());
    }
}
