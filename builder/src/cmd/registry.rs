//! `cooper registry serve`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::ServeFlags;
use crate::{open, signals, stdout, ui};
use cooper_registry_server::ServerOptions;
use tokio::net::TcpListener;

/// Serves the store until a signal arrives, which is the ordinary end of a server. What goes wrong meanwhile is said on
/// standard error: clients are told no more than that something did.
pub fn serve(place: &Place, flags: &ServeFlags) -> Result<Exit, Failure> {
    ui::log::open();
    let store = open::store(place, &place.root()?)?;
    let runtime = open::runtime()?;
    let shutdown = signals::first(runtime.handle())?;
    runtime
        .block_on(async {
            let cannot = |e| Failure::file(format!("listening on {}", flags.listen), Exit::Registry, e);
            let listener = TcpListener::bind(flags.listen).await.map_err(cannot)?;
            let address = listener.local_addr().map_err(cannot)?;
            ui::say(&format!("serving {} on http://{address}", ui::escape::line(&store.root().display().to_string())));
            // For programs that asked for port 0.
            stdout::line(&address.to_string())?;
            Ok(cooper_registry_server::serve(listener, ServerOptions { store }, shutdown).await?)
        })
        .map(|()| Exit::Done)
}
