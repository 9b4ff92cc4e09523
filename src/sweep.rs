//! Sweeps: one recipe with many values, painted by one process or by many that share nothing but a folder.
//!
//! A [`Plan`] is a pure function of the sweep's file and of the files that it names: its runs have the same numbers and names in every process.
//! Each process paints the runs of its [`Shard`]. A run is painted in a folder beside its place in the [`Store`] and renamed when it is whole, so
//! that whatever is in place is whole, however many processes work, and whatever ends them. The last one to finish makes the
//! [table], the sheets and the page of what is in the store.

mod axis;
mod costs;
mod csv;
mod file;
pub(crate) mod layout;
mod plan;
mod shard;
mod sheet;
mod store;
pub mod table;
mod worker;

pub use costs::{Basis, Costs};
pub use csv::line as csv_line;
pub use layout::{advice_on_url, is_run_of_sweep, runs_in};
pub use plan::{MOST_RUNS, Plan, PlannedRun};
pub use shard::{Shard, ShardSource};
pub use sheet::{Collected, PAGE, collect};
pub use store::{Estimate, Finished, Store};
pub use worker::{Event, Judge, Painter, Report};
