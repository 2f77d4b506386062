//! One request: what it is about, chosen for its kind. Reads choose among rows that stay; what is new has a digest that
//! nobody had before, whatever the seed, so that a load can be played again on the same database.

use std::sync::Arc;

use fastrand::Rng;
use sqlx::{Arguments, error::BoxDynError, postgres::PgArguments};

use super::{
    Error,
    mix::About,
    query::{Arg, Learn, Query},
    sample::{Manifest, Place, Repository, Sample},
    script::Size,
    spare::{Shelf, Spare},
};

/// Of a blob or a manifest.
const BYTES: i64 = 3000;

/// Of a manifest: small, for it is the payload of nobody.
const PAYLOAD: &[u8] = br#"{"schemaVersion":2}"#;

/// The facts of a request; those that its kind does not need are empty.
#[derive(Clone, Debug)]
pub(super) struct Request {
    place: Arc<Place>,
    /// Where a blob is mounted from.
    source: Arc<Place>,
    /// Of `place`, or of the repository that the request made.
    repository_id: i64,
    /// Of the manifest or blob that the request is about.
    digest: Vec<u8>,
    manifest_id: i64,
    config: Vec<u8>,
    tag: String,
    layers: Vec<Vec<u8>>,
    children: Vec<(i64, Vec<u8>)>,
}

// === impl Request ===

impl Request {
    /// Chooses what a request is about.
    pub(super) fn choose(
        about: About,
        sample: &Sample,
        spare: &Spare,
        size: Size,
        rng: &mut Rng,
    ) -> Result<Self, Error> {
        if let Some(shelf) = Shelf::taken_by(about) {
            return spare.take(shelf, rng).ok_or(Error::NothingThere(shelf.what()));
        }
        let repository = match about {
            About::KnownIndex => {
                let at = rng.choice(&sample.with_index).ok_or(Error::NothingThere("index that may be pushed again"))?;
                &sample.repositories[*at]
            }
            _ => any(&sample.repositories, rng),
        };
        let request = Self::about(&repository.place, any(&repository.images, rng));
        Ok(match about {
            About::Manifest => request,
            About::Blob => Self { digest: any(&repository.blobs, rng).clone(), ..request },
            About::UnknownContent | About::NewBlob => Self { digest: new_digest(), ..request },
            About::UnknownRepository | About::NewRepository => {
                let name = new_name();
                let path = format!("{}/{name}", repository.place.namespace);
                let namespace = repository.place.namespace.clone();
                let place = Place { name, path, namespace, ..*repository.place };
                Self { digest: new_digest(), ..Self::at(&Arc::new(place)) }
            }
            About::NewImage => Self { tag: new_name(), ..request.new_image(repository, size, rng) },
            About::NewUntaggedImage => Self { tag: String::new(), ..request.new_image(repository, size, rng) },
            About::KnownImage => Self { layers: several(&repository.blobs, size.layers, rng), ..request },
            About::NewIndex => {
                Self { digest: new_digest(), tag: new_name(), children: children(repository, size, rng), ..request }
            }
            About::KnownIndex => {
                let index = repository.index.as_ref().ok_or(Error::NothingThere("index that may be pushed again"))?;
                Self { children: children(repository, size, rng), ..Self::about(&repository.place, index) }
            }
            About::KnownBlob => {
                let source = any(&sample.repositories, rng);
                Self { source: Arc::clone(&source.place), digest: any(&source.blobs, rng).clone(), ..request }
            }
            About::SpareImage | About::SpareIndex | About::SpareTag | About::SpareLink => request,
        })
    }

    /// About a manifest that is there.
    pub(super) fn about(place: &Arc<Place>, manifest: &Manifest) -> Self {
        let Manifest { id, digest, config, tag } = manifest.clone();
        Self { manifest_id: id, digest, config, tag, ..Self::at(place) }
    }

    /// About a blob that is there.
    pub(super) fn about_blob(place: &Arc<Place>, digest: Vec<u8>) -> Self {
        Self { digest, ..Self::at(place) }
    }

    /// What is needed to delete what it pushed.
    pub(super) fn into_spare(self) -> Self {
        Self { layers: Vec::new(), ..self }
    }

    /// Takes in what a statement told.
    pub(super) fn learn(&mut self, what: Learn, value: i64) {
        match what {
            Learn::ManifestId => self.manifest_id = value,
            Learn::RepositoryId => self.repository_id = value,
        }
    }

    /// The arguments of a statement; `nth` is whose turn it is of the layers or children.
    pub(super) fn arguments(&self, query: &Query, nth: usize, sample: &Sample) -> Result<PgArguments, BoxDynError> {
        let place = &self.place;
        let mut arguments = PgArguments::default();
        for arg in query.args {
            match arg {
                Arg::Namespace => arguments.add(&place.namespace)?,
                Arg::NamespaceId => arguments.add(place.namespace_id)?,
                Arg::Name => arguments.add(&place.name)?,
                Arg::Path => arguments.add(&place.path)?,
                Arg::PathBelow => arguments.add(format!("{}/%", place.path))?,
                Arg::RepositoryId => arguments.add(self.repository_id)?,
                Arg::SourcePath => arguments.add(&self.source.path)?,
                Arg::SourceNamespaceId => arguments.add(self.source.namespace_id)?,
                Arg::SourceRepositoryId => arguments.add(self.source.repository_id)?,
                Arg::Digest => arguments.add(&self.digest)?,
                Arg::ManifestId => arguments.add(self.manifest_id)?,
                Arg::Config => arguments.add(&self.config)?,
                Arg::Payload => arguments.add(PAYLOAD)?,
                Arg::Tag => arguments.add(&self.tag)?,
                Arg::Layer => arguments.add(&self.layers[nth])?,
                Arg::Child => arguments.add(&self.children[nth].1)?,
                Arg::ChildId => arguments.add(self.children[nth].0)?,
                Arg::ChildIds => arguments.add(self.children.iter().map(|child| child.0).collect::<Vec<_>>())?,
                Arg::MediaType => arguments.add(&sample.media_type)?,
                Arg::MediaTypeId => arguments.add(sample.media_type_id)?,
                Arg::Size => arguments.add(BYTES)?,
            }
        }
        Ok(arguments)
    }

    fn at(place: &Arc<Place>) -> Self {
        Self {
            repository_id: place.repository_id,
            place: Arc::clone(place),
            source: Arc::clone(place),
            digest: Vec::new(),
            manifest_id: 0,
            config: Vec::new(),
            tag: String::new(),
            layers: Vec::new(),
            children: Vec::new(),
        }
    }

    fn new_image(self, repository: &Repository, size: Size, rng: &mut Rng) -> Self {
        Self { digest: new_digest(), layers: several(&repository.blobs, size.layers, rng), ..self }
    }
}

/// One of a list that has at least one: a kept repository has images and blobs.
fn any<'a, T>(list: &'a [T], rng: &mut Rng) -> &'a T {
    &list[rng.usize(..list.len())]
}

/// Neighbours, from any of them on; when that is more than all, they come again.
fn several<T: Clone>(list: &[T], count: usize, rng: &mut Rng) -> Vec<T> {
    let start = rng.usize(..list.len());
    list.iter().cycle().skip(start).take(count).cloned().collect()
}

fn children(repository: &Repository, size: Size, rng: &mut Rng) -> Vec<(i64, Vec<u8>)> {
    let children = several(&repository.images, size.children, rng);
    children.into_iter().map(|child| (child.id, child.digest)).collect()
}

/// As a registry stores a SHA-256: its algorithm's number before it.
fn new_digest() -> Vec<u8> {
    std::iter::once(1).chain(std::iter::repeat_with(|| fastrand::u8(..)).take(32)).collect()
}

fn new_name() -> String {
    format!("load-{:016x}", fastrand::u64(..))
}
