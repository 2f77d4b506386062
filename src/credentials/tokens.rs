//! Bearer tokens and what they may do. Kept is a MAC of each by a key that this process drew for itself: neither a dump of
//! the memory nor the time that a comparison takes tells a token.

use std::{collections::HashSet, sync::Arc};

use ring::{hmac, rand::SystemRandom};

use super::{Contents, Fault, Source};

/// Less than this, in characters, can be guessed: 22 of base64 are 128 bits.
const LEAST_LENGTH: usize = 22;

/// Fewer different characters than this are no random ones.
const LEAST_VARIETY: usize = 8;

/// What a caller may do. The later ones may do what the earlier ones may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask.
    Read,
    /// Change something, or make work.
    Operate,
}

/// A token's file, and what it is good for.
#[derive(Clone, Debug)]
pub struct TokenSource {
    /// Who has it, for the log and the traces.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// What holds it.
    pub file: Source,
}

/// The tokens that are known. Has no `Debug`.
#[derive(Default)]
pub struct Tokens {
    /// Of this process and these tokens; `None` without tokens.
    key: Option<hmac::Key>,
    known: Vec<Known>,
}

struct Known {
    name: Arc<str>,
    role: Role,
    tag: hmac::Tag,
}

// === impl Role ===

impl Role {
    /// As in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

// === impl Tokens ===

impl Tokens {
    /// Those of the files, with what is wrong and what is odd added to the rest.
    pub(super) fn new(
        sources: &[TokenSource],
        contents: &Contents,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let Some(first) = sources.first() else { return Self::default() };
        let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) else {
            faults.push(first.file.fault("the system gives no random numbers"));
            return Self::default();
        };
        let mut known: Vec<Known> = Vec::new();
        for source in sources {
            let token = match contents.of(&source.file).and_then(|bytes| token(&source.file, bytes)) {
                Ok(token) => token,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            if is_weak(token) {
                let told = source.file.fault("the token is easy to guess; make one with `openssl rand -hex 32`");
                warnings.push(told.to_string());
            }
            let tag = hmac::sign(&key, token);
            if let Some(other) = known.iter().find(|other| other.tag.as_ref() == tag.as_ref()) {
                faults
                    .push(source.file.fault(format_args!("holds the token of {} too; give each its own", other.name)));
            }
            known.push(Known { name: source.name.as_str().into(), role: source.role, tag });
        }
        Self { key: Some(key), known }
    }

    /// Whether no token is asked for.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The name and the role of a token that a caller showed; `None`: nobody has it.
    pub fn find(&self, shown: &[u8]) -> Option<(&Arc<str>, Role)> {
        // How many leading bytes two tags have in common says nothing to somebody who does not have the key, so the
        // comparison may be the ordinary one.
        let tag = hmac::sign(self.key.as_ref()?, shown);
        let known = self.known.iter().find(|known| known.tag.as_ref() == tag.as_ref())?;
        Some((&known.name, known.role))
    }
}

/// The token of a file, without the line break at its end.
fn token<'a>(source: &Source, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
    let token = bytes.trim_ascii_end();
    if token.is_empty() {
        return Err(source.fault("is empty; make a token with `openssl rand -hex 32`"));
    }
    // What a header carries and nothing trims.
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(source.fault("want one line of visible ASCII characters, without a space"));
    }
    Ok(token)
}

fn is_weak(token: &[u8]) -> bool {
    token.len() < LEAST_LENGTH || token.iter().collect::<HashSet<_>>().len() < LEAST_VARIETY
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn made(files: &[(&str, Role, &[u8])]) -> (Tokens, Vec<String>, Vec<String>) {
        let source = |index: usize| Source {
            setting: format!("auth.tokens[{index}].tokenfile"),
            path: PathBuf::from(format!("f{index}")),
        };
        let sources: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(index, (name, role, _))| TokenSource { name: (*name).into(), role: *role, file: source(index) })
            .collect();
        let contents = files.iter().enumerate().map(|(index, (_, _, bytes))| (source(index).path, Ok(bytes.to_vec())));
        let (mut faults, mut warnings) = (Vec::new(), Vec::new());
        let tokens = Tokens::new(&sources, &Contents(contents.collect()), &mut faults, &mut warnings);
        (tokens, faults.iter().map(ToString::to_string).collect(), warnings)
    }

    #[test]
    fn a_token_is_found_by_all_of_it_and_by_nothing_else() {
        let (tokens, faults, warnings) = made(&[
            ("prometheus", Role::Read, b"0123456789abcdef0123456789abcdef\n"),
            ("admin", Role::Operate, b"fedcba9876543210fedcba9876543210\r\n"),
        ]);
        assert_eq!((faults, warnings), (Vec::new(), Vec::new()));
        let found = |shown: &str| tokens.find(shown.as_bytes()).map(|(name, role)| (&**name, role));
        assert_eq!(found("0123456789abcdef0123456789abcdef"), Some(("prometheus", Role::Read)));
        assert_eq!(found("fedcba9876543210fedcba9876543210"), Some(("admin", Role::Operate)));
        for other in ["", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef\n", "admin"] {
            assert_eq!(found(other), None, "{other:?}");
        }
        assert!(Role::Operate > Role::Read);
    }

    #[test]
    fn what_is_no_token_is_refused_and_a_weak_one_is_warned_of_and_neither_is_quoted() {
        let (_, faults, warnings) = made(&[
            ("empty", Role::Read, b" \n"),
            ("lines", Role::Read, b"hunter2\nhunter3"),
            ("weak", Role::Read, b"hunter2"),
            ("monotonous", Role::Read, b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
            ("same", Role::Operate, b"hunter2\n"),
        ]);
        let want = [
            "auth.tokens[0].tokenfile: f0: is empty; make a token with `openssl rand -hex 32`",
            "auth.tokens[1].tokenfile: f1: want one line of visible ASCII characters, without a space",
            "auth.tokens[4].tokenfile: f4: holds the token of weak too; give each its own",
        ];
        assert_eq!(faults, want);
        let told = "the token is easy to guess; make one with `openssl rand -hex 32`";
        assert_eq!(warnings, [2, 3, 4].map(|index| format!("auth.tokens[{index}].tokenfile: f{index}: {told}")));
    }
}
