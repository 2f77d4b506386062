//! Reads rows by COPY, a utility statement: what it takes to begin is in nobody's count of operations.

use std::{collections::HashMap, sync::Arc};

use futures_util::TryStreamExt;
use sqlx::PgConnection;

use super::{Manifest, Place};
use crate::demo::load::Error;

/// The first ones: more of them would ask for nothing else.
const REPOSITORIES: &str = "SELECT r.top_level_namespace_id, r.id, n.name AS namespace, r.name, r.path \
    FROM repositories r JOIN top_level_namespaces n ON n.id = r.top_level_namespace_id \
    WHERE r.deleted_at IS NULL ORDER BY r.id LIMIT 1000";

/// A repository with all that it has.
pub(in crate::demo::load) struct Found {
    pub(in crate::demo::load) place: Arc<Place>,
    pub(in crate::demo::load) manifests: Vec<(Manifest, Role)>,
    pub(in crate::demo::load) blobs: Vec<Vec<u8>>,
}

/// What a manifest is to others.
pub(in crate::demo::load) struct Role {
    pub(in crate::demo::load) is_index: bool,
    pub(in crate::demo::load) is_child: bool,
}

/// A row as COPY writes it. No text in it has a tab or a backslash: they are paths, tags, media types and numbers.
struct Row(String);

/// Repositories in the order of their ids.
pub(super) async fn found(connection: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let mut found: Vec<Found> = Vec::new();
    let mut places = HashMap::new();
    for row in copy(connection, REPOSITORIES).await? {
        let [namespace_id, repository_id, namespace, name, path] = row.fields()?;
        let place = Place {
            namespace_id: number(namespace_id)?,
            repository_id: number(repository_id)?,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            path: path.to_owned(),
        };
        places.insert(place.repository_id, found.len());
        found.push(Found { place: Arc::new(place), manifests: Vec::new(), blobs: Vec::new() });
    }
    let manifests = format!(
        "SELECT m.repository_id, m.id, encode(m.digest, 'hex'), \
           coalesce(encode(m.configuration_blob_digest, 'hex'), ''), \
           coalesce((SELECT min(t.name) FROM tags t WHERE t.top_level_namespace_id = m.top_level_namespace_id \
             AND t.repository_id = m.repository_id AND t.manifest_id = m.id), ''), \
           EXISTS (SELECT FROM manifest_references p WHERE p.top_level_namespace_id = m.top_level_namespace_id \
             AND p.repository_id = m.repository_id AND p.parent_id = m.id), \
           EXISTS (SELECT FROM manifest_references c WHERE c.top_level_namespace_id = m.top_level_namespace_id \
             AND c.repository_id = m.repository_id AND c.child_id = m.id) \
         FROM ({REPOSITORIES}) r JOIN manifests m \
           ON m.top_level_namespace_id = r.top_level_namespace_id AND m.repository_id = r.id ORDER BY m.id"
    );
    for row in copy(connection, &manifests).await? {
        let [repository, id, digest, config, tag, is_index, is_child] = row.fields()?;
        let manifest =
            Manifest { id: number(id)?, digest: bytes(digest)?, config: bytes(config)?, tag: tag.to_owned() };
        if let Some(at) = places.get(&number(repository)?) {
            found[*at].manifests.push((manifest, Role { is_index: is_index == "t", is_child: is_child == "t" }));
        }
    }
    let blobs = format!(
        "SELECT b.repository_id, encode(b.blob_digest, 'hex') FROM ({REPOSITORIES}) r JOIN repository_blobs b \
           ON b.top_level_namespace_id = r.top_level_namespace_id AND b.repository_id = r.id ORDER BY b.id"
    );
    for row in copy(connection, &blobs).await? {
        let [repository, digest] = row.fields()?;
        if let Some(at) = places.get(&number(repository)?) {
            found[*at].blobs.push(bytes(digest)?);
        }
    }
    Ok(found)
}

/// The first one.
pub(super) async fn media_type(connection: &mut PgConnection) -> Result<(i16, String), Error> {
    let rows = copy(connection, "SELECT id, media_type FROM media_types ORDER BY id LIMIT 1").await?;
    let [id, media_type] = rows.first().ok_or(Error::NothingThere("media type"))?.fields()?;
    Ok((id.parse().map_err(|_| Error::Row)?, media_type.to_owned()))
}

// === impl Row ===

impl Row {
    fn fields<const N: usize>(&self) -> Result<[&str; N], Error> {
        let fields: Vec<_> = self.0.split('\t').collect();
        fields.try_into().map_err(|_| Error::Row)
    }
}

async fn copy(connection: &mut PgConnection, select: &str) -> Result<Vec<Row>, Error> {
    let messages = connection.copy_out_raw(&format!("COPY ({select}) TO STDOUT")).await.map_err(Error::Sample)?;
    let text: Vec<_> = messages.try_collect().await.map_err(Error::Sample)?;
    let text = String::from_utf8(text.concat()).map_err(|_| Error::Row)?;
    Ok(text.lines().map(|line| Row(line.to_owned())).collect())
}

fn number(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| Error::Row)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Error> {
    let byte = |at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(Error::Row);
    (0..hex.len()).step_by(2).map(byte).collect()
}
