//! Lists: pages, filters and orders, as Harbor's API has them.

use registry_auth::query::{parse_filter, parse_sort};
use registry_core::store::collection::{Filter, Match, Query, Sort};
use serde::Serialize;

use crate::call::Call;
use crate::refusal::Refusal;
use crate::reply::Reply;

/// Entries of a page that does not say how many.
const SIZE: u64 = 10;
/// Most entries of a page.
const SIZE_MAX: u64 = 100;

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    page: u64,
    size: u64,
}

/// A field as clients call it, and as the records do.
pub(crate) type Alias = (&'static str, &'static str);

impl Paging {
    fn offset(self) -> usize {
        usize::try_from((self.page - 1).saturating_mul(self.size)).unwrap_or(usize::MAX)
    }

    /// The page of entries that are all there.
    pub(crate) fn cut<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter()
            .skip(self.offset())
            .take(self.size as usize)
            .collect()
    }

    /// The page of what a query is about.
    pub(crate) fn of(self, query: Query) -> Query {
        query.page(self.offset(), self.size as usize)
    }
}

impl Call<'_> {
    /// The page that is asked for.
    pub(crate) fn paging(&self) -> Result<Paging, Refusal> {
        let page = self.query.parse("page", "a number from 1")?.unwrap_or(1);
        let size = self
            .query
            .parse("page_size", "a number from 1 to 100")?
            .unwrap_or(SIZE);
        if page == 0 || !(1..=SIZE_MAX).contains(&size) {
            return Err(Refusal::invalid(format!(
                "page begins at 1, and page_size is from 1 to {SIZE_MAX}: not {page} and {size}"
            )));
        }
        Ok(Paging { page, size })
    }

    /// Which entries in which order, of all pages: what `q` and `sort` say.
    pub(crate) fn asked(&self, aliases: &[Alias], order_by: (&str, bool)) -> Result<Query, Refusal> {
        let filter = filter(self.query.get("q").unwrap_or_default(), aliases).map_err(Refusal::invalid)?;
        let sort = order(self.query.get("sort").unwrap_or_default(), aliases).map_err(Refusal::invalid)?;
        let query = Query {
            filter,
            sort,
            ..Query::all()
        };
        Ok(match query.sort.is_empty() {
            true => query.by(order_by.0, order_by.1),
            false => query,
        })
    }

    /// A page of `total` entries.
    pub(crate) fn listed(&self, paging: Paging, total: u64, entries: &[impl Serialize]) -> Reply {
        let before = (paging.page - 1).saturating_mul(paging.size);
        let to = |page: u64, rel: &str| {
            let mut query = self.query.without(&["page", "page_size"]);
            query.append_pair("page", &page.to_string());
            query.append_pair("page_size", &paging.size.to_string());
            format!("<{}?{}>; rel=\"{rel}\"", self.head.uri.path(), query.finish())
        };
        let previous = (paging.page > 1 && before <= total).then(|| to(paging.page - 1, "prev"));
        let next = (before.saturating_add(paging.size) < total).then(|| to(paging.page + 1, "next"));
        let links: Vec<String> = previous.into_iter().chain(next).collect();
        let link = (!links.is_empty()).then(|| links.join(" , "));
        Reply::json(&entries).listed(total, link.as_deref())
    }
}

/// Whether two names of fields are the same to Harbor, which knows `ProjectID` and `project_id`.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.replace('_', "").to_ascii_lowercase();
    letters(a) == letters(b)
}

/// The filter that `q` is, with fields as the records call them and times as they keep them. Whether there are such fields
/// is for the records to say: what they do not declare cannot be asked for.
///
/// # Errors
/// A text about what is wrong with it.
pub fn filter(text: &str, aliases: &[Alias]) -> Result<Filter, String> {
    let mut filter = parse_filter(text).map_err(|why| format!("q: {why}"))?;
    for condition in &mut filter.0 {
        condition.field = called(std::mem::take(&mut condition.field), aliases);
        let times = ["creation_time", "update_time"];
        let Some(field) = times.into_iter().find(|time| is_same(time, &condition.field)) else {
            continue;
        };
        let time = |text: &mut String| -> Result<(), String> {
            let why = || format!("q: {field} is a time in UTC, such as 2026-11-22 10:30:00");
            *text = moment(text).ok_or_else(why)?;
            Ok(())
        };
        match &mut condition.test {
            Match::Is(value) => time(value)?,
            Match::Range(min, max) => [min, max].into_iter().flatten().try_for_each(time)?,
            Match::Any(values) | Match::All(values) => values.iter_mut().try_for_each(time)?,
            Match::Like(_) => return Err(format!("q: {field} is a time, and has no part to look for")),
        }
    }
    Ok(filter)
}

/// The order that `sort` is, with fields as the records call them.
///
/// # Errors
/// A text about what is wrong with it.
pub fn order(text: &str, aliases: &[Alias]) -> Result<Vec<Sort>, String> {
    let mut sort = parse_sort(text).map_err(|why| format!("sort: {why}"))?;
    for part in &mut sort {
        part.field = called(std::mem::take(&mut part.field), aliases);
    }
    Ok(sort)
}

fn called(field: String, aliases: &[Alias]) -> String {
    let alias = aliases.iter().find(|(theirs, _)| is_same(theirs, &field));
    alias.map_or(field, |(_, ours)| (*ours).to_owned())
}

/// Milliseconds since the epoch, of a time in UTC with a space or a `T` between day and hour.
fn moment(text: &str) -> Option<String> {
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_millis().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_times_are_those_of_the_records() {
        let aliases = [("user_id", "id")];
        let read = filter("UserID=3,creation_time=[2026-11-22 10:30:00~]", &aliases).unwrap();
        assert_eq!(read.0[0].field, "id");
        assert_eq!(read.0[1].test, Match::Range(Some("1795343400000".into()), None));
        assert!(filter("creation_time=soon", &[]).is_err());
        assert!(filter("update_time=~2026", &[]).is_err());
        assert_eq!(order("-user_id,name", &aliases).unwrap()[0].field, "id");
    }

    #[test]
    fn a_page_is_where_its_number_says() {
        let paging = Paging { page: 2, size: 3 };
        assert_eq!(paging.cut((0..7).collect()), [3, 4, 5]);
        let far = Paging {
            page: u64::MAX,
            size: 100,
        };
        assert!(far.cut((0..7).collect()).is_empty());
    }
}
