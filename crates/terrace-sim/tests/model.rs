//! Random operations over the whole API against a model, on the real and on the simulated file system.
//!
//! `TERRACE_SEED=n` runs one seed, `TERRACE_SEEDS=n` that many, `TERRACE_STEPS=n` sets the steps per run.

use std::path::PathBuf;
use std::sync::Arc;

use terrace::{Clock, Env, ManualClock, Rng, SeededRng, SimFs};
use terrace_sim::workload::Workload;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(count: u64) -> Vec<u64> {
    if let Some(seed) = number("TERRACE_SEED") {
        return vec![seed];
    }
    // Fresh seeds in every run; a failing one is printed by the workload and can be given back.
    let first = Env::default().rng.next_u64();
    (0..number("TERRACE_SEEDS").unwrap_or(count)).map(|n| first.wrapping_add(n)).collect()
}

fn steps() -> u64 {
    number("TERRACE_STEPS").unwrap_or(4_000)
}

#[test]
fn answers_equal_the_models_on_the_simulated_file_system() {
    for seed in seeds(12) {
        println!("seed {seed}");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(seed));
        let env = Env::inline(Arc::new(SimFs::new()), clock, rng);
        Workload::new(env, PathBuf::from("/store"), seed).unwrap().run(steps());
    }
}

#[test]
fn answers_equal_the_models_on_the_real_file_system_with_threads() {
    for seed in seeds(4) {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        Workload::new(Env::default(), dir.path().join("store"), seed).unwrap().run(steps());
    }
}
