//! `cooper login`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::login::LoginFlags;
use crate::open::Remote;
use crate::ui::{ask, escape, say};
use crate::{credential_file, open, settings, stdout};
use cooper_engine::EngineError;
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::edit::{self, Keeping};
use cooper_registry::{ClientOptions, Greeting, Secret, helper};
use serde_json::json;
use std::io::Read as _;

/// Largest password on standard input, in bytes.
const PASSWORD_BYTES: u64 = 64 * 1024;
/// What is printed for a login that has a token in place of a name and a password.
const TOKEN: &str = "<token>";

/// Tries a login at its registry and keeps it.
pub fn run(place: &Place, flags: &LoginFlags) -> Result<Exit, Failure> {
    let host = flags.host.name();
    if flags.get_login {
        return get_login(place, flags);
    }
    let file = place.env.login_file()?;
    // Before anybody types a password: files that cannot be used are told.
    let options = open::client(place)?;
    let keeper = settings::credential_file(place, &file)?.and_then(|f| f.keeper(host).map(str::to_owned));
    let login = asked(flags)?;
    edit::check_name(&login.username).map_err(EngineError::from)?;

    let credential = Credential { login: Some(login.clone()), ..Credential::default() };
    let tried = ClientOptions { credentials: vec![DockerConfig::with(host, credential)], ..options };
    let remote = Remote::over(tried)?;
    let refused = |e| Failure::Login { host: host.to_owned(), source: Box::new(e) };
    let greeting = remote.wait(remote.client.ping(host)).map_err(refused)?;

    let keeping = match &keeper {
        Some(name) => {
            remote.wait(helper::store(name, host, &login)).map_err(EngineError::from)?;
            Keeping::Helper
        }
        None => Keeping::Here(&login),
    };
    credential_file::change(&file, |text| edit::with_login(text, host, keeping).map(Some))?;
    let kept = match &keeper {
        Some(name) => format!("docker-credential-{name}"),
        None => file.display().to_string(),
    };
    let given = settings::given_credentials(place)?.filter(|_| !place.env.files_go_first());
    if given.is_some_and(|given| given.find(host, "").is_some()) {
        say(&escape::line(&format!(
            "warning: {} has a login for {host} as well, and goes before this one: unset it to use this one",
            settings::VARIABLE
        )));
    }
    if flags.json {
        let (username, tried) = (&login.username, greeting != Greeting::Open);
        let said = json!({"registry": host, "username": username, "kept_by": kept, "tried": tried});
        stdout::json(&said)?;
        return Ok(Exit::Done);
    }
    say(&escape::line(&format!("logged in to {host} as {}; {kept} keeps it", login.username)));
    if greeting == Greeting::Open {
        say(&escape::line(&format!("{host} did not ask who we are: whether the password is right was not tried")));
    }
    Ok(Exit::Done)
}

fn get_login(place: &Place, flags: &LoginFlags) -> Result<Exit, Failure> {
    let (host, files) = (&flags.host, settings::credentials(place)?);
    let runtime = open::runtime()?;
    for file in &files {
        if let Some(found) = runtime.block_on(file.credential(host.name(), "")).map_err(EngineError::from)? {
            let username = found.login.as_ref().map_or(TOKEN, |l| &l.username);
            if flags.json {
                stdout::json(&json!({"registry": host.name(), "username": username}))?;
            } else {
                stdout::line(&escape::line(username))?;
            }
            return Ok(Exit::Done);
        }
    }
    Err(Failure::usage(format!("nobody is logged in to {host}"), format!("log in with: cooper login {host}")))
}

/// The login, from flags, standard input or the person at the terminal.
fn asked(flags: &LoginFlags) -> Result<Login, Failure> {
    if !flags.password_stdin && !ask::somebody() {
        return Err(Failure::usage(
            "there is no terminal on which a password could be asked for",
            "give --username NAME --password-stdin, and the password on standard input",
        ));
    }
    let username = match &flags.username {
        Some(name) => name.clone(),
        None => ask::line(&format!("user name at {}: ", flags.host))?,
    };
    let password = if flags.password_stdin { from_stdin()? } else { ask::secret("password or access token: ")? };
    if password.is_empty() {
        return Err(Failure::usage("the password is empty", "type it, or give it on standard input"));
    }
    Ok(Login { username, password })
}

/// All of standard input but one line break at its end.
fn from_stdin() -> Result<Secret, Failure> {
    let cannot = |e| Failure::file("reading the password from standard input", Exit::Usage, e);
    let mut bytes = Vec::new();
    std::io::stdin().take(PASSWORD_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > PASSWORD_BYTES {
        return Err(cannot(std::io::Error::other(format!("it is longer than {PASSWORD_BYTES} bytes"))));
    }
    // The parser's error would quote the bytes.
    let text = String::from_utf8(bytes).map_err(|_| cannot(std::io::Error::other("it is not UTF-8")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}
