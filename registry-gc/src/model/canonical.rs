//! One representative for states that differ only in numbering.
//!
//! Locations, repository ids, clients and collectors are interchangeable, so each state is renumbered before it is
//! compared. Two states that are merged are alike up to a renaming, so no behaviour is lost.

use super::state::*;

/// Frees the slots of locations that nothing names, nothing holds and nothing remembers.
pub(super) fn free_locations(s: &mut State) {
    let mut in_use = [false; LOCATIONS];
    for blob in s.blobs.iter().filter(|blob| blob.exists()) {
        in_use[usize::from(blob.location)] = true;
    }
    s.clients
        .iter_mut()
        .filter_map(client_location)
        .for_each(|at| in_use[usize::from(*at)] = true);
    s.collectors
        .iter_mut()
        .filter_map(collector_location)
        .for_each(|at| in_use[usize::from(*at)] = true);
    for (location, in_use) in s.locations.iter_mut().zip(in_use) {
        let named = in_use || location.is_claimed() || location.doomed != ABSENT;
        let writing = location.session != 0 || location.write != 0 || location.stale_write != 0;
        if !named && !writing && !location.bytes.on_disk() {
            *location = Location::default();
        }
    }
}

/// Renumbers everything that is interchangeable. Idle processes come last, so that a configuration with one process
/// finds it in the first slot.
pub(super) fn renumber(s: &mut State) {
    sort_clients_by_shape(s);
    renumber_repositories(s);
    renumber_locations(s);
    if s.clients[0] < s.clients[1] {
        s.clients.swap(0, 1);
    }
    sort_collectors(s);
    for blob in &mut s.blobs {
        sort_entries(&mut blob.pending);
    }
}

fn sort_entries(pending: &mut [Entry; ENTRIES]) {
    pending.sort_unstable_by(|a, b| b.cmp(a));
}

fn client_location(step: &mut ClientStep) -> Option<&mut u8> {
    match step {
        ClientStep::Publishing { location, .. }
        | ClientStep::Reading { location, .. }
        | ClientStep::Despairing { location } => Some(location),
        _ => None,
    }
}

fn client_repository(step: &mut ClientStep) -> Option<&mut u8> {
    match step {
        ClientStep::Leasing { repository, .. }
        | ClientStep::Putting { repository, .. }
        | ClientStep::Publishing { repository, .. } => Some(repository),
        _ => None,
    }
}

fn collector_location(step: &mut CollectorStep) -> Option<&mut u8> {
    match step {
        CollectorStep::Collecting {
            location,
            decision: Decision::Remove,
            ..
        }
        | CollectorStep::Abandoning { location, .. }
        | CollectorStep::Unlinking { location }
        | CollectorStep::Clearing { location } => Some(location),
        _ => None,
    }
}

/// A client without the numbers that renumbering will change.
fn shape(mut step: ClientStep) -> ClientStep {
    if let Some(location) = client_location(&mut step) {
        *location = 0;
    }
    if let Some(repository) = client_repository(&mut step) {
        *repository = 0;
    }
    step
}

fn sort_clients_by_shape(s: &mut State) {
    if shape(s.clients[0]) < shape(s.clients[1]) {
        s.clients.swap(0, 1);
    }
}

fn renumber_repositories(s: &mut State) {
    let mut held_by = [0_u8; REPOSITORIES];
    for (client, step) in s.clients.iter_mut().enumerate() {
        if let Some(repository) = client_repository(step) {
            held_by[usize::from(*repository)] |= 1 << client;
        }
    }
    let mut order: [usize; REPOSITORIES] = std::array::from_fn(|at| at);
    order.sort_by_key(|&at| (s.repositories[at], held_by[at]));
    let before = s.repositories;
    let mut renamed = [0_u8; REPOSITORIES];
    for (now, was) in order.into_iter().enumerate() {
        s.repositories[now] = before[was];
        renamed[was] = now as u8;
    }
    for repository in s.clients.iter_mut().filter_map(client_repository) {
        *repository = renamed[usize::from(*repository)];
    }
}

fn renumber_locations(s: &mut State) {
    let mut held_by = [0_u16; LOCATIONS];
    for (at, blob) in s.blobs.iter().enumerate() {
        if blob.exists() {
            held_by[usize::from(blob.location)] |= 0x100 << at;
        }
    }
    for (client, step) in s.clients.iter_mut().enumerate() {
        if let Some(location) = client_location(step) {
            held_by[usize::from(*location)] |= 0x10 << client;
        }
    }
    for (collector, step) in s.collectors.iter_mut().enumerate() {
        if let Some(location) = collector_location(step) {
            held_by[usize::from(*location)] |= 1 << collector;
        }
    }
    let mut order: [usize; LOCATIONS] = std::array::from_fn(|at| at);
    order.sort_by_key(|&at| (!s.locations[at].used, s.locations[at], held_by[at]));
    let before = s.locations;
    let mut renamed = [0_u8; LOCATIONS];
    for (now, was) in order.into_iter().enumerate() {
        s.locations[now] = before[was];
        renamed[was] = now as u8;
    }
    for blob in s.blobs.iter_mut().filter(|blob| blob.exists()) {
        blob.location = renamed[usize::from(blob.location)];
    }
    for location in s.clients.iter_mut().filter_map(client_location) {
        *location = renamed[usize::from(*location)];
    }
    for location in s.collectors.iter_mut().filter_map(collector_location) {
        *location = renamed[usize::from(*location)];
    }
}

fn swap_bits(bits: u8) -> u8 {
    ((bits & 1) << 1) | ((bits >> 1) & 1)
}

fn swapped(mut pending: [Entry; ENTRIES]) -> [Entry; ENTRIES] {
    for entry in &mut pending {
        entry.read_by = swap_bits(entry.read_by);
        entry.outdated_for = swap_bits(entry.outdated_for);
    }
    sort_entries(&mut pending);
    pending
}

fn sort_collectors(s: &mut State) {
    let (first, second) = (s.collectors[0], s.collectors[1]);
    for blob in &mut s.blobs {
        sort_entries(&mut blob.pending);
    }
    let twins_out_of_order =
        first == second && s.blobs.map(|blob| swapped(blob.pending)) > s.blobs.map(|blob| blob.pending);
    if first < second || twins_out_of_order {
        s.collectors.swap(0, 1);
        for blob in &mut s.blobs {
            blob.pending = swapped(blob.pending);
        }
    }
}
