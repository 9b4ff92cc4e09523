//! Which part of a sweep a process paints.

use std::fmt;
use std::str::FromStr;

/// One of several processes that divide the runs of a sweep among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1 to `count`.
    pub number: usize,
    /// How many there are.
    pub count: usize,
}

/// Where a shard's number was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardSource {
    /// The variables of an array of Slurm.
    Slurm,
    /// The variables of an Indexed Job of Kubernetes.
    Kubernetes,
}

const TASK: &str = "SLURM_ARRAY_TASK_ID";
const TASKS: [&str; 3] = [
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_MAX",
    "SLURM_ARRAY_TASK_COUNT",
];
/// Slurm leaves it out where it is 1.
const TASK_STEP: &str = "SLURM_ARRAY_TASK_STEP";
const COMPLETION: &str = "JOB_COMPLETION_INDEX";
/// Kubernetes tells a pod its own number, and not how many there are.
const SHARDS: &str = "PHANTASIA_SHARDS";

impl Shard {
    /// The only one.
    pub const ALL: Self = Self {
        number: 1,
        count: 1,
    };

    /// Whether it paints the run of that number, counted from 1. Neighbouring runs, which often cost the same, go to different shards.
    pub fn has(self, run: usize) -> bool {
        run % self.count == self.number % self.count
    }

    /// The shard that the variables of a scheduler name; `get` looks one up.
    ///
    /// # Errors
    /// When only some of a scheduler's variables are set, one of them is no number, or they do not fit each other; the message names them.
    pub fn of_environment(
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(Self, ShardSource)>, String> {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let is_array = get(TASK).is_some() || TASKS.iter().any(|name| get(name).is_some());
        let is_indexed = get(COMPLETION).is_some() || get(SHARDS).is_some();
        let number = |name: &str, because: &str| {
            let value = get(name).ok_or_else(|| {
                format!("{because}, and {name} is not: set it, or give the shard as --shard I/N")
            })?;
            value.trim().parse::<u64>().map_err(|_| {
                format!(
                    "{name} is `{value}`, which is no whole number: give the shard as --shard I/N"
                )
            })
        };
        match (is_array, is_indexed) {
            (false, false) => Ok(None),
            (true, true) => Err(format!(
                "there are variables of Slurm ({TASK}) and of Kubernetes ({COMPLETION}, {SHARDS}): say which shard this is by --shard I/N"
            )),
            (true, false) => {
                let because = "variables of a Slurm array are set";
                let task = number(TASK, because)?;
                let [first, last, count] = TASKS.map(|name| number(name, because));
                let (first, last, count) = (first?, last?, count?);
                let step = if get(TASK_STEP).is_some() {
                    number(TASK_STEP, because)?.max(1)
                } else {
                    1
                };
                let is_range = first <= last && (last - first) / step + 1 == count;
                if !is_range
                    || !(first..=last).contains(&task)
                    || !(task - first).is_multiple_of(step)
                {
                    return Err(format!(
                        "the tasks of the Slurm array are not one range ({TASK}={task}, {}={first}, {}={last}, {}={count}), so that a task does \
                         not know its place: use --array=1-N, or give the shard as --shard I/N",
                        TASKS[0], TASKS[1], TASKS[2]
                    ));
                }
                Ok(Some((
                    Self::checked((task - first) / step + 1, count)?,
                    ShardSource::Slurm,
                )))
            }
            (false, true) => {
                let index = number(COMPLETION, &format!("{SHARDS} is set"))?;
                let count = number(SHARDS, &format!("{COMPLETION} is set"))?;
                let shard = Self::checked(index.saturating_add(1), count).map_err(|error| {
                    format!("{COMPLETION}={index}, counted from 0, and {SHARDS}={count}: {error}")
                })?;
                Ok(Some((shard, ShardSource::Kubernetes)))
            }
        }
    }

    fn checked(number: u64, count: u64) -> Result<Self, String> {
        let sizes = usize::try_from(number)
            .ok()
            .zip(usize::try_from(count).ok());
        sizes
            .filter(|(number, count)| (1..=*count).contains(number))
            .map(|(number, count)| Self { number, count })
            .ok_or_else(|| format!("there is no shard {number} of {count}: shards are counted from 1, as in --shard 1/4 to --shard 4/4"))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let numbers = typed.split_once('/').and_then(|(number, count)| {
            Some((number.trim().parse().ok()?, count.trim().parse().ok()?))
        });
        let (number, count) = numbers.ok_or_else(|| "expected I/N, such as 1/4".to_owned())?;
        Self::checked(number, count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Ok(Shard::of_environment(get)?.map(|(shard, source)| format!("{shard} {source:?}")))
    }

    fn slurm(task: &str, first: &str, last: &str, count: &str) -> Result<Option<String>, String> {
        of(&[
            (TASK, task),
            (TASKS[0], first),
            (TASKS[1], last),
            (TASKS[2], count),
        ])
    }

    #[test]
    fn shards_are_typed_from_1() {
        assert_eq!(
            "2/4".parse(),
            Ok(Shard {
                number: 2,
                count: 4
            })
        );
        for wrong in [
            "0/4",
            "5/4",
            "1/0",
            "4",
            "a/4",
            "1/",
            "-1/4",
            "1/4/2",
            "18446744073709551616/4",
        ] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        let painted: Vec<Vec<usize>> = (1..=3)
            .map(|number| {
                let shard = Shard { number, count: 3 };
                (1..=7).filter(|run| shard.has(*run)).collect()
            })
            .collect();
        assert_eq!(painted, [vec![1, 4, 7], vec![2, 5], vec![3, 6]]);
    }

    #[test]
    fn a_scheduler_says_which_shard_it_is() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(slurm("1", "1", "4", "4"), Ok(Some("1/4 Slurm".to_owned())));
        assert_eq!(slurm("3", "0", "3", "4"), Ok(Some("4/4 Slurm".to_owned())));
        let stepped = [
            (TASK, "9"),
            (TASKS[0], "1"),
            (TASKS[1], "13"),
            (TASKS[2], "4"),
            (TASK_STEP, "4"),
        ];
        assert_eq!(of(&stepped), Ok(Some("3/4 Slurm".to_owned())));
        let indexed = [(COMPLETION, "0"), (SHARDS, "4")];
        assert_eq!(of(&indexed), Ok(Some("1/4 Kubernetes".to_owned())));
    }

    #[test]
    fn variables_that_say_half_are_named() {
        for (variables, name) in [
            (&[(TASK, "1")][..], TASKS[0]),
            (&[(TASKS[2], "4")], TASK),
            (&[(COMPLETION, "1")], SHARDS),
            (&[(SHARDS, "4")], COMPLETION),
            (&[(COMPLETION, "4"), (SHARDS, "4")], COMPLETION),
            (&[(COMPLETION, "x"), (SHARDS, "4")], COMPLETION),
            (&[(COMPLETION, "1"), (SHARDS, "4"), (TASK, "1")], TASK),
        ] {
            let error = of(variables).expect_err(name);
            assert!(error.contains(name) && error.contains("--shard"), "{error}");
        }
        // of a list, and of a range that ended elsewhere
        for (task, first, last, count) in [
            ("3", "1", "7", "3"),
            ("9", "1", "4", "4"),
            ("1", "4", "1", "4"),
        ] {
            assert!(slurm(task, first, last, count).is_err(), "{task}");
        }
    }
}
