//! The only randomness of the simulation: one seed, drawn from in the order of events.

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(super) struct Seed(u64);

/// The letters Kubernetes puts into generated names: no vowels, so that no words appear.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Seed {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        )
    }

    pub(super) fn suffix(&mut self) -> String {
        letters(self.next(), 5)
    }
}

/// A stable name for a text: the hash in the name of a `ReplicaSet`.
pub(super) fn hash_name(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    letters(mix(hash), 10)
}

fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn letters(mut bits: u64, length: usize) -> String {
    let base = LETTERS.len() as u64;
    (0..length)
        .map(|_| {
            let letter = usize::try_from(bits % base).ok().and_then(|place| LETTERS.get(place));
            bits /= base;
            letter.copied().map_or('b', char::from)
        })
        .collect()
}
