//! Retrying as data: which answers deserve another try, how long to wait, and when to give up.
//! Takes statuses and headers; gives waits. Must never sleep itself, nor read a clock: a
//! `Retry-After` date is measured against the `Date` of the same answer.

use crate::patience::Patience;
use crate::{Asked, RegistryError};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// How failures are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most tries of one piece of work, the first included.
    pub tries: u32,
    /// For so long after its first failure, work is tried more often than that when its registry was there and is away,
    /// as while it is started anew: five tries are over within three seconds.
    pub outage: Duration,
    /// Wait before the second try; it doubles with every further one.
    pub first: Duration,
    /// Longest wait of our own choice.
    pub longest: Duration,
    /// Longest `Retry-After` that is waited for. Where it is longer, work ends at once and says so: asking sooner would
    /// be refused.
    pub longest_told: Duration,
    /// All waits of a client together, whatever they are for; those at the same time count once.
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            outage: Duration::from_secs(60),
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
            longest_told: Duration::from_secs(60),
            total: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// For an endpoint that another one stands behind: give up sooner.
    pub(crate) fn hurried(self) -> Self {
        Self { tries: self.tries.min(2), outage: Duration::ZERO, ..self }
    }
}

/// What a failed try says of further ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The registry or the way to it is away, and mostly comes back.
    Away,
    /// Something else that may pass.
    Otherwise,
    /// It was said that it lasts longer than anybody waits.
    ForLong,
}

impl Failed {
    /// By an answer. What failed inside the registry may have been done: again for long only where that does no harm.
    pub(crate) fn answered(status: u16, method: &Method) -> Self {
        match status {
            502..=504 => Self::Away,
            500 if method.is_idempotent() => Self::Away,
            _ => Self::Otherwise,
        }
    }

    /// By an error of work that is not repeated blindly: it asks first what became of it, or begins anew.
    pub(crate) fn by(error: &RegistryError) -> Self {
        match error {
            RegistryError::Network { .. } => Self::Away,
            RegistryError::Later { .. } => Self::ForLong,
            RegistryError::Status { status, .. } => Self::answered(*status, &Method::GET),
            _ => Self::Otherwise,
        }
    }
}

/// The tries that are left for one piece of work, shared by all of its requests. What they wait, they take from what
/// all work of the client has.
#[derive(Debug)]
pub(crate) struct Budget {
    policy: RetryPolicy,
    used: u32,
    /// Those that found the registry away; the others are counted apart, for what comes when it is back.
    used_away: u32,
    /// Since when it does not go well.
    since: Option<Duration>,
    patience: Arc<Patience>,
    /// Who is asked.
    host: String,
}

impl Budget {
    pub(crate) fn new(policy: RetryPolicy, patience: &Arc<Patience>, host: &str) -> Self {
        Self { policy, used: 1, used_away: 1, since: None, patience: Arc::clone(patience), host: host.to_owned() }
    }
    /// The same work at another host, with tries of its own.
    pub(crate) fn at(&self, host: &str) -> Self {
        Self::new(self.policy, &self.patience, host)
    }
    /// Waits until the host may be asked. `asked` is what it would be.
    pub(crate) async fn turn(&self, asked: impl Fn() -> Asked) -> Result<(), RegistryError> {
        let turn = self.patience.turn(&self.host, self.policy.longest_told).await;
        turn.map_err(|wait| RegistryError::Later { asked: Box::new(asked()), wait })
    }
    /// The host has answered, whatever it said.
    pub(crate) fn met(&self) {
        self.patience.met(&self.host);
    }
    /// Takes a wait that the host asks for: everybody who asks it is held back, whether or not tries are left here.
    /// `asked` is what it did not answer. An error where nobody waits for so long.
    pub(crate) fn hear(&self, told: Duration, asked: impl Fn() -> Asked) -> Result<(), RegistryError> {
        self.patience.hold(&self.host, told);
        match told <= self.policy.longest_told && self.patience.affords(told) {
            true => Ok(()),
            false => Err(RegistryError::Later { asked: Box::new(asked()), wait: told }),
        }
    }
    /// How long to wait before the next try; `None` when there is none left. `told` is what the host asked for, and was
    /// heard.
    pub(crate) fn next(&mut self, failed: Failed, told: Option<Duration>) -> Option<Duration> {
        if failed == Failed::ForLong {
            return None;
        }
        let now = self.patience.now();
        let lasted = now.saturating_sub(*self.since.get_or_insert(now));
        // A host that has never answered is mostly a wrong name, for which nobody should wait a minute.
        let away = failed == Failed::Away && self.patience.was_there(&self.host);
        let used = if away { &mut self.used_away } else { &mut self.used };
        if *used >= self.policy.tries && !(away && lasted < self.policy.outage) {
            return None;
        }
        let doubled = self.policy.first.saturating_mul(1_u32.checked_shl(*used - 1).unwrap_or(u32::MAX));
        *used += 1;
        let own = jitter(doubled.min(self.policy.longest));
        let wait = told.map_or(own, |told| told.saturating_add(own / 2).max(own));
        self.patience.grants(wait).then_some(wait)
    }
    /// Waits as long as [`Budget::next`] said. `cause` is what ended the try before.
    pub(crate) async fn pause(&self, wait: Duration, cause: &(dyn Display + Sync)) {
        self.patience.pause(wait, cause).await;
    }
    /// Work that really moved on earns its tries again; the total wait stays counted.
    pub(crate) fn progressed(&mut self) {
        (self.used, self.used_away, self.since) = (1, 1, None);
    }
}

/// Between a half and all of a wait, so that clients that failed together do not return together.
pub(crate) fn jitter(wait: Duration) -> Duration {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let part = u32::try_from(random % 512).unwrap_or(0);
    wait / 2 + wait / 1024 * part
}

/// Does the same request deserve another try?
pub(crate) fn is_retryable(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) || status.is_server_error()
}

/// The wait that the registry asks for (RFC 9110, section 10.2.3), in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let told = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = told.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(http_date(told)? - now).unwrap_or(0)))
}

/// Seconds since 1970 of an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.trim().strip_suffix(" GMT")?.split_once(", ")?.1.split([' ', ':']);
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|m| *m == name)?).ok()? + 1;
    let mut number = || words.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let plausible = (1970..=9999).contains(&year) && (1..=31).contains(&day) && (0..24).contains(&hour);
    if !plausible || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    // Days of the proleptic Gregorian calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::Clock;
    use std::pin::Pin;
    use std::sync::Mutex;

    /// Goes on only while somebody waits.
    #[derive(Debug, Default)]
    struct Virtual(Mutex<Duration>);

    impl Clock for Virtual {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }
        fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            *self.0.lock().unwrap() += wait;
            Box::pin(std::future::ready(()))
        }
    }

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("tomorrow", None),
        ] {
            assert_eq!(http_date(text), seconds, "{text}");
        }
    }

    #[test]
    fn retry_after_seconds_and_dates() {
        let headers = |after: &str, date: Option<&str>| {
            let mut h = HeaderMap::new();
            h.insert(RETRY_AFTER, after.parse().unwrap());
            date.map(|d| h.insert(DATE, d.parse().unwrap()));
            retry_after(&h).map(|d| d.as_secs())
        };
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(headers("7", None), Some(7));
        assert_eq!(headers("Sun, 06 Nov 1994 08:49:57 GMT", now), Some(20));
        assert_eq!(headers("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(0), "a date in the past");
        assert_eq!(headers("Sun, 06 Nov 1994 08:49:57 GMT", None), None);
        assert_eq!(headers("-4", None), None);
    }

    #[test]
    fn budgets_end() {
        let policy = RetryPolicy { total: Duration::from_secs(100), ..RetryPolicy::default() };
        let budget = |patience: &Arc<Patience>| Budget::new(policy, patience, "r.example");
        let patience = || Arc::new(Patience::new(Arc::new(Virtual::default()), policy.total));
        let mut b = budget(&patience());
        let mut last = Duration::ZERO;
        for n in 0..4 {
            let wait = b.next(Failed::Otherwise, None).unwrap();
            let full = policy.first * (1 << n);
            assert!(wait >= full / 2 && wait <= full, "{n}: {wait:?}");
            last = wait;
        }
        assert!(last > policy.first);
        assert_eq!(b.next(Failed::Otherwise, None), None, "five tries and no more");
        let mut b = budget(&patience());
        assert_eq!(b.next(Failed::ForLong, None), None);
    }

    fn asked() -> Asked {
        Asked { registry: "r.example".into(), repository: "a/b".into(), request: "GET manifest 1".into(), led_to: None }
    }

    #[tokio::test]
    async fn what_is_told_is_waited_for_or_it_ends_at_once() {
        let (policy, clock) = (RetryPolicy::default(), Arc::new(Virtual::default()));
        let patience = Arc::new(Patience::new(clock.clone(), policy.total));
        let budget = |host: &str| Budget::new(policy, &patience, host);
        let second = Duration::from_secs(1);
        budget("near.example").hear(60 * second, asked).unwrap();
        budget("near.example").turn(asked).await.unwrap();
        assert!(clock.now() >= 60 * second && clock.now() < 62 * second, "{clock:?}");
        // For longer nobody waits, neither who was told so nor who comes after.
        let before = clock.now();
        for done in [budget("far.example").hear(600 * second, asked), budget("far.example").turn(asked).await] {
            let error = done.unwrap_err();
            let RegistryError::Later { wait, .. } = &error else { panic!("{error}") };
            assert_eq!(*wait, 600 * second);
            assert!(error.to_string().ends_with("the registry wants to be asked again in 10 min, not before"));
            assert_eq!(budget("far.example").next(Failed::by(&error), None), None);
        }
        assert_eq!(clock.now(), before);
        // What is told can be a slip; it is not believed for a year.
        budget("slip.example").hear(Duration::MAX, asked).unwrap_err();
        clock.sleep(3600 * second).await;
        budget("slip.example").turn(asked).await.unwrap();
    }

    #[tokio::test]
    async fn who_was_there_and_is_away_is_waited_for() {
        let (policy, second) = (RetryPolicy::default(), Duration::from_secs(1));
        for (failed, known, least, most) in
            [(Failed::Away, true, 60, 75), (Failed::Away, false, 1, 4), (Failed::Otherwise, true, 1, 4)]
        {
            let clock = Arc::new(Virtual::default());
            let patience = Arc::new(Patience::new(clock.clone(), policy.total));
            if known {
                patience.met("r.example");
            }
            let mut b = Budget::new(policy, &patience, "r.example");
            while let Some(wait) = b.next(failed, None) {
                clock.sleep(wait).await;
            }
            let waited = clock.now();
            assert!(waited >= second * least && waited <= second * most, "{failed:?}, {known}: {waited:?}");
            if known && failed == Failed::Away {
                assert!(b.next(Failed::Otherwise, None).is_some(), "what comes afterwards has its own tries");
            }
            b.progressed();
            assert!(b.next(failed, None).is_some());
        }
    }

    #[test]
    fn what_says_that_a_registry_is_away() {
        for (status, method, away) in [
            (503, Method::POST, true),
            (502, Method::PATCH, true),
            (504, Method::GET, true),
            (500, Method::GET, true),
            (500, Method::PUT, true),
            (500, Method::POST, false),
            (501, Method::GET, false),
            (429, Method::GET, false),
            (408, Method::GET, false),
        ] {
            assert_eq!(Failed::answered(status, &method) == Failed::Away, away, "{method} {status}");
        }
    }

    #[tokio::test]
    async fn all_work_of_a_client_waits_from_one_account() {
        let (policy, clock) = (RetryPolicy::default(), Arc::new(Virtual::default()));
        let patience = Arc::new(Patience::new(clock.clone(), policy.total));
        let budget = |host: &str| Budget::new(policy, &patience, host);
        let minute = Some(Duration::from_secs(60));
        // Twenty that wait at the same time wait once; what each is told counts for all who ask the same host.
        let mut waits = Vec::new();
        for _ in 0..20 {
            budget("r.example").hear(Duration::from_secs(60), asked).unwrap();
            waits.push(budget("r.example").next(Failed::Otherwise, minute).unwrap());
        }
        assert!(waits.iter().any(|wait| *wait != waits[0]), "they come back together: {waits:?}");
        budget("other.example").turn(asked).await.unwrap();
        assert_eq!(clock.now(), Duration::ZERO, "nobody has told that of another host");
        budget("r.example").turn(asked).await.unwrap();
        assert!(clock.now() >= Duration::from_secs(60));
        // One after the other, four more of the five minutes are left, also of work that has waited for nothing yet.
        for n in 0..4 {
            let wait = budget("r.example").next(Failed::Otherwise, Some(Duration::from_secs(55)));
            let Some(wait) = wait else { panic!("{n}: {patience:?}") };
            clock.sleep(wait).await;
        }
        assert_eq!(budget("other.example").next(Failed::Otherwise, minute), None, "the account is empty");
        assert_eq!(budget("r.example").next(Failed::Otherwise, minute), None);
        budget("r.example").hear(Duration::from_secs(60), asked).unwrap_err();
        budget("r.example").turn(asked).await.unwrap_err();
        // A server's client lives long.
        clock.sleep(policy.total * 2).await;
        assert!(budget("r.example").next(Failed::Otherwise, minute).is_some());
    }

    #[test]
    fn only_passing_faults_are_retried() {
        for (code, again) in
            [(408, true), (429, true), (500, true), (503, true), (400, false), (401, false), (404, false), (416, false)]
        {
            assert_eq!(is_retryable(StatusCode::from_u16(code).unwrap()), again, "{code}");
        }
    }
}
