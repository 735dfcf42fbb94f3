//! What goes to a server over the wire: a listener that hands everything on, and keeps what clients send.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Wire {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    /// Lives as long as the test's process.
    pub fn to(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), sent: Arc::default() };
        let (host, sent) = (host.to_owned(), Arc::clone(&wire.sent));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&host).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let sent = Arc::clone(&sent);
                std::thread::spawn(move || hand_on(client, server, |bytes| sent.lock().unwrap().extend(bytes)));
                std::thread::spawn(move || hand_on(back.0, back.1, |_| {}));
            }
        });
        wire
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What clients have sent so far.
    pub fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, mut see: impl FnMut(&[u8])) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut piece) {
        see(&piece[..n]);
        if n == 0 || to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
