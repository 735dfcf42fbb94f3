//! A clock that goes on only while somebody waits.

use cooper_registry::Clock;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Virtual(Mutex<Duration>);

impl Clock for Virtual {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.0.lock().unwrap() += wait;
        Box::pin(tokio::task::yield_now())
    }
}
