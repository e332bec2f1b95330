//! Whether and when a container is started again. Pure.
//!
//! The times are Docker's: 100 ms, doubled at each restart, a minute at
//! most, and 100 ms again once a run lasted ten seconds.

use std::time::Duration;

use crate::config::RestartPolicy;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const GOOD_RUN: Duration = Duration::from_secs(10);

/// A restart policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    #[default]
    No,
    /// After every end that nobody asked for, and when the daemon starts.
    Always,
    /// Likewise, but not at the daemon's start when somebody had stopped it.
    UnlessStopped,
    /// After a failure, at most so many times; 0 is without end.
    OnFailure {
        /// Most restarts in a row.
        max: u64,
    },
}

/// Why a policy is refused; `Display` is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A name that is none.
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    Unknown(String),
    /// A count where it means nothing.
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    CountOfOther,
    /// A count below zero.
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    NegativeCount,
}

impl Policy {
    /// Checks what a client asked for.
    pub fn parse(asked: &RestartPolicy) -> Result<Self, PolicyError> {
        let count = asked.maximum_retry_count;
        let policy = match asked.name.as_str() {
            "" | "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                let max = u64::try_from(count).map_err(|_| PolicyError::NegativeCount)?;
                return Ok(Self::OnFailure { max });
            }
            other => return Err(PolicyError::Unknown(other.to_owned())),
        };
        match count {
            0 => Ok(policy),
            count if count < 0 => Err(PolicyError::NegativeCount),
            _ => Err(PolicyError::CountOfOther),
        }
    }

    /// Whether a container that was running, or had ended, is started when
    /// the daemon starts.
    pub fn starts_with_daemon(self, stopped_by_hand: bool, exit_code: i32, restarts: u64) -> bool {
        match self {
            Self::No => false,
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_hand,
            Self::OnFailure { max } => {
                !stopped_by_hand && exit_code != 0 && (max == 0 || restarts < max)
            }
        }
    }
}

/// The memory between the restarts of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    delay: Option<Duration>,
    /// Restarts since somebody last started it.
    pub restarts: u64,
}

impl Backoff {
    /// After so many restarts, which the daemon was told of by its record.
    pub fn after(restarts: u64) -> Self {
        Self {
            delay: None,
            restarts,
        }
    }

    /// After an end that nobody asked for: how long to wait before the next
    /// start, or nothing when there is none.
    pub fn after_exit(
        &mut self,
        policy: Policy,
        exit_code: i32,
        ran: Duration,
    ) -> Option<Duration> {
        let again = match policy {
            Policy::No => false,
            Policy::Always | Policy::UnlessStopped => true,
            Policy::OnFailure { max } => exit_code != 0 && (max == 0 || self.restarts < max),
        };
        if !again {
            return None;
        }
        let delay = match self.delay {
            Some(before) if ran < GOOD_RUN => (before * 2).min(LONGEST_DELAY),
            _ => FIRST_DELAY,
        };
        self.delay = Some(delay);
        self.restarts += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, count: i64) -> Result<Policy, PolicyError> {
        Policy::parse(&RestartPolicy {
            name: name.into(),
            maximum_retry_count: count,
        })
    }

    #[test]
    fn policies() {
        assert_eq!(asked("", 0), Ok(Policy::No));
        assert_eq!(asked("no", 0), Ok(Policy::No));
        assert_eq!(asked("on-failure", 3), Ok(Policy::OnFailure { max: 3 }));
        assert_eq!(asked("on-failure", -1), Err(PolicyError::NegativeCount));
        assert_eq!(asked("always", 1), Err(PolicyError::CountOfOther));
        assert_eq!(asked("always", -1), Err(PolicyError::NegativeCount));
        assert_eq!(
            asked("Always", 0),
            Err(PolicyError::Unknown("Always".into()))
        );
    }

    #[test]
    fn delays_double_up_to_a_minute_and_start_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        let short = Duration::from_secs(1);
        let mut delays = Vec::new();
        for _ in 0..12 {
            let delay = backoff.after_exit(Policy::Always, 0, short).expect("again");
            delays.push(delay.as_millis());
        }
        assert_eq!(
            delays,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        let good = Duration::from_secs(10);
        let delay = backoff.after_exit(Policy::Always, 0, good);
        assert_eq!(delay, Some(FIRST_DELAY));
        assert_eq!(backoff.restarts, 13);
    }

    #[test]
    fn on_failure_counts() {
        let policy = Policy::OnFailure { max: 2 };
        let mut backoff = Backoff::default();
        let ran = Duration::ZERO;
        assert_eq!(backoff.after_exit(policy, 0, ran), None, "no failure");
        assert!(backoff.after_exit(policy, 1, ran).is_some());
        assert!(backoff.after_exit(policy, 1, ran).is_some());
        assert_eq!(backoff.after_exit(policy, 1, ran), None, "used up");
        let endless = Policy::OnFailure { max: 0 };
        assert!(backoff.after_exit(endless, 137, ran).is_some());
        assert_eq!(backoff.after_exit(Policy::No, 1, ran), None);
    }

    #[test]
    fn at_the_daemons_start() {
        assert!(Policy::Always.starts_with_daemon(true, 0, 0));
        assert!(!Policy::UnlessStopped.starts_with_daemon(true, 0, 0));
        assert!(Policy::UnlessStopped.starts_with_daemon(false, 0, 0));
        let policy = Policy::OnFailure { max: 1 };
        assert!(policy.starts_with_daemon(false, 1, 0));
        assert!(!policy.starts_with_daemon(false, 1, 1));
        assert!(!policy.starts_with_daemon(false, 0, 0));
        assert!(!Policy::No.starts_with_daemon(false, 1, 0));
    }
}
