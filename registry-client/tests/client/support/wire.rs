//! What goes to a server over the wire: a listener that hands everything on, keeps what clients send, and can damage
//! or cut it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// Some bytes on their way.
pub struct Piece<'a> {
    /// Connections that were there before.
    pub connection: usize,
    pub from: From,
    /// Bytes that came before it this way, and pieces.
    pub at: u64,
    pub nth: usize,
    /// What is handed on; it may be changed.
    pub bytes: &'a mut Vec<u8>,
}

/// What becomes of a connection after a piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Stands,
    Breaks,
}

type Meddler = dyn Fn(Piece<'_>) -> Line + Send + Sync;

pub struct Wire {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// Lives as long as the test's process.
    pub fn to(host: &str) -> Self {
        Self::through(host, |_| Line::Stands)
    }

    /// As [`Wire::to`], with somebody in between.
    pub fn through(host: &str, meddler: impl Fn(Piece<'_>) -> Line + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), sent: Arc::default() };
        let (host, sent, meddler) = (host.to_owned(), Arc::clone(&wire.sent), Arc::new(meddler));
        std::thread::spawn(move || {
            for (connection, client) in listener.incoming().map_while(Result::ok).enumerate() {
                let Ok(server) = TcpStream::connect(&host) else { continue };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, ends) in [(From::Client, (client, server)), (From::Server, back)] {
                    let (sent, meddler): (_, Arc<Meddler>) = (Arc::clone(&sent), meddler.clone());
                    std::thread::spawn(move || hand_on(ends, (connection, from), &*meddler, &sent));
                }
            }
        });
        wire
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many bytes clients have sent so far.
    pub fn weight(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// What clients have sent so far.
    pub fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }
}

fn hand_on(
    (mut from, mut to): (TcpStream, TcpStream),
    (connection, way): (usize, From),
    meddler: &Meddler,
    sent: &Mutex<Vec<u8>>,
) {
    let mut piece = vec![0; 64 * 1024];
    let mut at = 0;
    for nth in 0.. {
        let Ok(n) = from.read(&mut piece) else { break };
        let mut bytes = piece[..n].to_vec();
        let line = meddler(Piece { connection, from: way, at, nth, bytes: &mut bytes });
        if way == From::Client {
            sent.lock().unwrap().extend(&bytes);
        }
        at += n as u64;
        let is_over = n == 0 || to.write_all(&bytes).is_err();
        if line == Line::Breaks {
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return;
        }
        if is_over {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
