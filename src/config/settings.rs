//! The settings that hold, each valid by itself: what was given, or the default where nothing was or where what was
//! given cannot stand. The readers below rely on that, and take only paths of the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    duration,
    origin::{Entry, Origin},
    problems::Problem,
    schema::{SETTINGS, Setting},
    secret::Secret,
};

/// The settings that hold. Has no `Debug`: it holds secrets.
pub struct Settings {
    given: BTreeMap<String, Entry>,
    unsound: BTreeSet<&'static str>,
}

// === impl Settings ===

impl Settings {
    /// Checks each setting by itself.
    pub fn new(given: BTreeMap<String, Entry>, problems: &mut Vec<Problem>) -> Self {
        let mut settings = Self { given, unsound: BTreeSet::new() };
        for setting in SETTINGS {
            if let Some(problem) = settings.problem(setting) {
                problems.push(problem);
                settings.given.remove(setting.path);
                settings.unsound.insert(setting.path);
            }
        }
        settings
    }

    /// Whether all of `paths` are as they were given, so that a relation between them is worth a word.
    pub fn are_sound(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| !self.unsound.contains(path))
    }

    /// The text that holds at `path`.
    pub fn text(&self, path: &str) -> &str {
        match self.given.get(path) {
            Some(entry) => &entry.text,
            None => setting(path).default,
        }
    }

    /// The text, when there is one.
    pub fn non_empty(&self, path: &str) -> Option<String> {
        Some(self.text(path)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The path of a file, when there is one.
    pub fn file(&self, path: &str) -> Option<PathBuf> {
        self.non_empty(path).map(PathBuf::from)
    }

    /// The items of the list at `path`.
    pub fn list(&self, path: &str) -> Vec<String> {
        self.text(path).split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// The truth value at `path`.
    pub fn is_on(&self, path: &str) -> bool {
        self.text(path) == "true"
    }

    /// The number at `path`, in any type that its bounds fit into.
    pub fn number<N: TryFrom<i64>>(&self, path: &str) -> N {
        let number = self.text(path).parse::<i64>().ok().and_then(|number| N::try_from(number).ok());
        number.expect("a number was checked against the bounds of its kind")
    }

    /// The duration at `path`.
    pub fn duration(&self, path: &str) -> Duration {
        duration::parse(self.text(path)).expect("a duration was checked against its kind")
    }

    /// The secret at `path` or in its file, when there is one.
    pub fn secret(&self, path: &str) -> Option<Secret> {
        let file = self.given.get(&format!("{path}file")).filter(|entry| !entry.text.is_empty());
        match file {
            Some(entry) => Some(Secret::File(PathBuf::from(&entry.text))),
            None => self.non_empty(path).map(Secret::Inline),
        }
    }

    /// Where the value at `path` came from.
    pub fn origin(&self, path: &str) -> Origin {
        self.given.get(path).map_or(Origin::Default, |entry| entry.origin.clone())
    }

    /// `value (origin)`, for messages that speak of several settings; of no secret.
    pub fn valued(&self, path: &str) -> String {
        format!("{} ({})", self.text(path), self.origin(path))
    }

    /// Two settings that are nothing without each other.
    pub fn need_both(&self, one: &str, two: &str, problems: &mut Vec<Problem>) {
        for (path, other) in [(one, two), (two, one)] {
            if self.text(path).is_empty() && !self.text(other).is_empty() {
                problems.push(Problem::of(path, format!("is not set, but {other} is, to {}", self.valued(other))));
            }
        }
    }

    /// `path (origin)` of each of `paths` that somebody set to something.
    pub fn set(&self, paths: &[&str]) -> Vec<String> {
        let given = paths.iter().filter_map(|path| self.given.get_key_value(*path));
        let given = given.filter(|(_, entry)| !entry.text.is_empty());
        given.map(|(path, entry)| format!("{path} ({})", entry.origin)).collect()
    }

    fn problem(&self, setting: &'static Setting) -> Option<Problem> {
        let Setting { path, kind, .. } = *setting;
        let file = format!("{path}file");
        let both = if kind.is_secret() { self.set(&[path, &file]) } else { Vec::new() };
        if let [inline, file] = &both[..] {
            return Some(Problem::of(path, format!("give {inline} or {file}, not both")));
        }
        let entry = self.given.get(path)?;
        let message = kind.check(&entry.text).err()?;
        Some(Problem::at(path, message, entry.origin.clone()))
    }
}

fn setting(path: &str) -> &'static Setting {
    let setting = SETTINGS.iter().find(|setting| setting.path == path);
    setting.expect("the readers name paths of the table, and every load reads them all")
}
