//! Pages of lists.

use std::io;

use super::connection::Request;
use super::content::{Blobs, manifest};
use super::fill::{Shelf, push, put};
use super::reads::Reads;

const SALT: u64 = 0x6c69_7374;

/// Repositories that a catalogue has at least.
const REPOSITORIES: usize = 200;

fn connection(shelf: &mut Shelf) -> io::Result<&mut super::connection::Connection> {
    match shelf {
        Shelf::Registry(connection) => Ok(connection),
        Shelf::Files(_) => Err(io::Error::other("files have no lists")),
    }
}

/// An image that is put under many tags, or in many repositories.
async fn image(connection: &mut super::connection::Connection, repository: &str) -> io::Result<String> {
    let blob = Blobs::new(64, SALT).get(0);
    push(connection, repository, &blob).await?;
    Ok(manifest(&blob, &[]))
}

/// A page of tags, from different places of the list.
///
/// # Errors
/// If the tags cannot be added.
pub async fn tags(shelf: &mut Shelf, page: usize, tags: usize) -> io::Result<Reads> {
    let connection = connection(shelf)?;
    let repository = format!("load/tags-{tags}");
    let image = image(connection, &repository).await?;
    for number in 0..tags {
        put(connection, &repository, &tag(number), &image).await?;
    }
    Ok(pages_of_tags(&repository, page, tags))
}

/// The tag of this number, in the order of the list.
pub fn tag(number: usize) -> String {
    format!("t{number:08}")
}

/// Requests for pages of a repository that has tags by these numbers.
pub fn pages_of_tags(repository: &str, page: usize, tags: usize) -> Reads {
    let steps = 100.min(tags.div_ceil(page));
    let requests = (0..steps).map(|step| {
        let from = tag(step * (tags.saturating_sub(page)) / steps);
        Request::get("GET", &format!("/v2/{repository}/tags/list?n={page}&last={from}"))
    });
    Reads::new(requests.collect(), &[200])
}

/// The first page of the catalogue, with as many repositories before any measurement as the page takes twice.
///
/// # Errors
/// If the repositories cannot be added.
pub async fn catalog(shelf: &mut Shelf, page: usize) -> io::Result<Reads> {
    let connection = connection(shelf)?;
    for number in 0..REPOSITORIES.max(2 * page) {
        let repository = format!("catalog/r{number:06}");
        let image = image(connection, &repository).await?;
        put(connection, &repository, "latest", &image).await?;
    }
    let request = Request::get("GET", &format!("/v2/_catalog?n={page}"));
    Ok(Reads::new(vec![request], &[200]))
}
