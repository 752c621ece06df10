//! Wrong passwords cost time: from the fourth on, the answer to a client's address is delayed, twice as long each
//! time. A right password is never delayed, so nobody is locked out by somebody else at the same address.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::stream::Address;

/// Wrong passwords without a delay: people mistype.
const FREE: u32 = 3;
/// The first delay.
const FIRST_MS: u64 = 100;
/// The longest delay.
const LONGEST_MS: u64 = 5_000;
/// After so long without another one, an address is forgiven.
const FORGIVEN_MS: u64 = 60_000;
/// Addresses remembered; more at once share one count, so that changing addresses does not help.
const MAX_ADDRESSES: usize = 4_096;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    failures: u32,
    last_ms: u64,
}

/// Who gave wrong passwords lately.
#[derive(Debug, Default)]
pub(crate) struct Penalties(Mutex<HashMap<String, Count>>);

impl Penalties {
    /// Notes a wrong password; returns how long to wait with the answer.
    pub(crate) fn failed(&self, peer: &Address, now_ms: u64) -> u64 {
        let name = match peer {
            Address::Inet(address) => address.ip().to_string(),
            Address::Unix(path) => path.to_string(),
        };
        let mut counts = self.0.lock();
        let is_forgiven = |count: &Count| now_ms.saturating_sub(count.last_ms) >= FORGIVEN_MS;
        if counts.len() >= MAX_ADDRESSES {
            counts.retain(|_, count| !is_forgiven(count));
        }
        let name =
            if counts.len() < MAX_ADDRESSES || counts.contains_key(&name) { name } else { String::new() };
        let count = counts.entry(name).or_default();
        if is_forgiven(count) {
            count.failures = 0;
        }
        count.failures = count.failures.saturating_add(1);
        count.last_ms = now_ms;
        delay_ms(count.failures)
    }
}

/// How long to wait with the answer to the wrong password of this number.
fn delay_ms(failures: u32) -> u64 {
    let Some(doublings) = failures.checked_sub(FREE + 1) else { return 0 };
    FIRST_MS.checked_shl(doublings.min(32)).unwrap_or(LONGEST_MS).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_are_forgiven() {
        let penalties = Penalties::default();
        let peer = |text: &str| Address::Inet(text.parse().unwrap());
        let delays: Vec<u64> = (0..11).map(|_| penalties.failed(&peer("10.0.0.1:5"), 1_000_000)).collect();
        assert_eq!(delays, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(penalties.failed(&peer("10.0.0.2:5"), 1_000_000), 0);
        assert_eq!(penalties.failed(&peer("10.0.0.1:6"), 1_000_000 + FORGIVEN_MS), 0);
        assert_eq!(delay_ms(u32::MAX), LONGEST_MS);
    }

    #[test]
    fn changing_addresses_neither_costs_memory_nor_helps() {
        let penalties = Penalties::default();
        let address = |n: usize| Address::Inet(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 1).into());
        let last = (0..MAX_ADDRESSES + 8).map(|n| penalties.failed(&address(n), 1_000_000)).last();
        assert!(last.unwrap() > 0);
        assert!(penalties.0.lock().len() <= MAX_ADDRESSES + 1);
    }
}
