//! What a world is about. In some of them anything may happen; in the others a few things happen often, since what takes
//! several of them in one order is rare where everything happens.

use std::time::Duration;

use registry_core::store::Lifetimes;
use registry_storage::testkit::disk::Dice;

use super::clients::Op;

/// Short ones, so that a few moves of the clock reach the end of everything. The records add up to a minute to a hold, so
/// what must be told apart differs by more than that.
const LIFETIMES: Lifetimes = Lifetimes {
    grace: Duration::from_secs(60),
    bucket: Duration::from_secs(60),
    second_delay: Duration::from_secs(420),
    upload_idle: Duration::from_secs(240),
    longest_write: Duration::from_secs(240),
    longest_read: Duration::from_secs(420),
    undo: Duration::from_secs(180),
};

/// How long the policy leaves manifests without a tag, where there is one. Longer than the records' slack.
const UNTAGGED: Duration = Duration::from_secs(150);

/// One blob that is kept in the records; one that is not; both.
const INSIDE: &[usize] = &[9];
const BESIDE: &[usize] = &[40];
const BOTH: &[usize] = &[40, 9];

/// What goes wrong in a world, each once in so many times; never if 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) unknown: usize,
    pub(super) failed: usize,
    pub(super) alarms: usize,
    pub(super) losses: usize,
    pub(super) crashes: usize,
    /// What is sent waits for the clock to move.
    pub(super) slow: usize,
    /// What is written does.
    pub(super) late: usize,
    /// Whoever commits does, as a node that is paused.
    pub(super) asleep: usize,
    /// And where that is a collector, if not as often as others.
    pub(super) dozing: usize,
}

/// What is promised in a world, what happens in it, and how often.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// What clients do.
    pub(super) menu: Vec<Op>,
    /// What the first of them does before that.
    pub(super) first: &'static [Op],
    pub(super) lifetimes: Lifetimes,
    /// How long a manifest may have no tag, if the policy is on.
    pub(super) untagged: Option<Duration>,
    /// Whether things happen in two repositories, or in one.
    pub(super) both_names: bool,
    /// Lengths of the blobs that there are.
    pub(super) lengths: &'static [usize],
    /// Whether each piece of an append is a request of its own.
    pub(super) by_requests: bool,
    /// Whether somebody checks and repairs the records.
    pub(super) checks: bool,
    pub(super) faults: Faults,
}

/// What a world is about.
struct Theme {
    menu: &'static [Op],
    first: &'static [Op],
    tune: fn(&mut Setting, &mut Dice),
}

const THEMES: &[Theme] = &[
    // Uploads that somebody else goes on with, and writes that land when all is over.
    Theme {
        menu: &[
            Op::LeaveUpload,
            Op::LeaveUpload,
            Op::Resume,
            Op::Resume,
            Op::Push,
            Op::Cancel,
        ],
        first: &[Op::Push, Op::LeaveUpload],
        tune: |setting, dice| {
            setting.by_requests = !dice.once_in(4);
            setting.faults.slow = [0, 3][usize::from(dice.once_in(3))];
            setting.faults.late = 3;
            // Longer, so that a write may land when its claim is long over.
            setting.lifetimes.longest_write *= [1, 2][dice.below(2)];
            setting.lengths = [BESIDE, INSIDE][dice.below(2)];
            setting.both_names = false;
        },
    },
    // Pulls of what is given up at that moment.
    Theme {
        menu: &[Op::Push, Op::Push, Op::Read, Op::Read, Op::DeleteBlob, Op::TryOut],
        first: &[Op::Push],
        tune: |setting, dice| {
            setting.faults.asleep = 6;
            setting.lifetimes.longest_write /= [1, 4][usize::from(!dice.once_in(4))];
            setting.both_names = false;
            setting.lengths = BESIDE;
        },
    },
    // A collector that dozes over what it has read, while the blob is had again and given up again.
    Theme {
        menu: &[Op::Read, Op::Read, Op::DeleteBlob],
        first: &[Op::TryOut, Op::TryOut, Op::TryOut],
        tune: |setting, dice| {
            setting.faults = Faults {
                dozing: 2 + dice.below(2),
                ..Faults::default()
            };
            setting.lifetimes.longest_write = Duration::from_secs(15);
            setting.both_names = false;
            setting.lengths = BESIDE;
        },
    },
    // The same over who holds it, until nobody does.
    Theme {
        menu: &[Op::Purge, Op::Purge, Op::DeleteManifest, Op::PutImage],
        first: &[
            Op::PushImage,
            Op::DeleteManifest,
            Op::PutDeferred,
            Op::DeleteManifest,
        ],
        tune: |setting, dice| {
            setting.faults = Faults {
                dozing: 2 + dice.below(2),
                ..Faults::default()
            };
            setting.both_names = dice.once_in(3);
            setting.lengths = BOTH;
            setting.lifetimes.undo = LIFETIMES.undo * u32::from(!dice.once_in(3));
        },
    },
    // Puts that take what is not there too, while it is given up.
    Theme {
        menu: &[Op::PutDeferred, Op::DeleteBlob, Op::Push, Op::DeleteManifest],
        first: &[Op::Push, Op::PutDeferred],
        tune: |setting, dice| {
            setting.faults.asleep = 3;
            setting.both_names = false;
            setting.lengths = [BESIDE, INSIDE][dice.below(2)];
            setting.lifetimes.undo = LIFETIMES.undo * u32::from(dice.once_in(3));
        },
    },
    // Who was told of a blob, and what becomes of it.
    Theme {
        menu: &[
            Op::Push,
            Op::Head,
            Op::Head,
            Op::Mount,
            Op::PutImage,
            Op::DeleteBlob,
        ],
        first: &[Op::Push],
        tune: |setting, dice| {
            setting.both_names = dice.once_in(2);
            setting.lengths = BESIDE;
        },
    },
    // Bytes that are lost, or seem to be.
    Theme {
        menu: &[Op::PutDeferred, Op::PutDeferred, Op::Push, Op::Read, Op::Read],
        first: &[Op::Push, Op::PutDeferred],
        tune: |setting, dice| {
            setting.faults.alarms = 4;
            setting.faults.losses = 3 * usize::from(dice.once_in(2));
            setting.both_names = false;
            setting.lengths = BESIDE;
        },
    },
    // Indexes, and what they list.
    Theme {
        menu: &[
            Op::PushImage,
            Op::PutIndex,
            Op::DeleteManifest,
            Op::DeleteManifest,
            Op::Undelete,
        ],
        first: &[Op::PushImage, Op::PutIndex],
        tune: |setting, dice| {
            setting.both_names = false;
            setting.lengths = [BESIDE, BOTH][usize::from(dice.once_in(3))];
            setting.lifetimes.undo = LIFETIMES.undo * u32::from(!dice.once_in(3));
        },
    },
    // The trash.
    Theme {
        menu: &[
            Op::PushImage,
            Op::DeleteManifest,
            Op::DeleteManifest,
            Op::Undelete,
            Op::Purge,
            Op::Purge,
        ],
        first: &[Op::PushImage, Op::DeleteManifest],
        tune: |setting, dice| {
            setting.faults.asleep = 8;
            setting.both_names = false;
            setting.lengths = [BESIDE, BOTH][usize::from(dice.once_in(3))];
            setting.lifetimes.undo = LIFETIMES.undo;
        },
    },
    // Repositories that go and come.
    Theme {
        menu: &[
            Op::PushImage,
            Op::PutImage,
            Op::Mount,
            Op::DeleteRepository,
            Op::DeleteRepository,
        ],
        first: &[Op::PushImage],
        tune: |setting, dice| {
            setting.both_names = !dice.once_in(3);
            setting.lengths = [BESIDE, BOTH][usize::from(dice.once_in(3))];
        },
    },
    // Tags that come and go, and a policy for what has none.
    Theme {
        menu: &[
            Op::PushImage,
            Op::PutImage,
            Op::PutIndex,
            Op::DeleteTag,
            Op::DeleteTag,
            Op::UndeleteTag,
            Op::RollBack,
            Op::DeleteManifest,
        ],
        first: &[Op::PushImage],
        tune: |setting, dice| {
            setting.untagged = Some(UNTAGGED);
            setting.both_names = dice.once_in(4);
            setting.lifetimes.undo = LIFETIMES.undo * u32::from(dice.once_in(2));
        },
    },
];

impl Setting {
    pub(super) fn draw(dice: &mut Dice) -> Setting {
        let mut faults = Faults::default();
        for fault in [
            (&mut faults.unknown, 25),
            (&mut faults.failed, 40),
            (&mut faults.alarms, 10),
            (&mut faults.losses, 3),
            (&mut faults.crashes, 3),
            (&mut faults.slow, 12),
            (&mut faults.late, 6),
            (&mut faults.asleep, 30),
        ] {
            if dice.once_in(3) {
                *fault.0 = fault.1;
            }
        }
        let mut setting = Setting {
            menu: Vec::new(),
            first: &[],
            lifetimes: Lifetimes {
                // Shorter than a bucket, so that a lease may end before the bucket of the next.
                grace: LIFETIMES.grace / [1, 2][dice.below(2)],
                // Without a trash, what is deleted leaves a grace and nothing else.
                undo: LIFETIMES.undo * u32::from(dice.once_in(2)),
                // Short, so that a write may land when its claim is over; long, so that uploads come to their end.
                upload_idle: LIFETIMES.upload_idle / [1, 3][usize::from(dice.once_in(4))],
                ..LIFETIMES
            },
            untagged: dice.once_in(6).then_some(UNTAGGED),
            both_names: true,
            lengths: match dice.below(5) {
                0 => INSIDE,
                1..=2 => BESIDE,
                _ => BOTH,
            },
            by_requests: dice.once_in(2),
            checks: dice.once_in(12),
            faults,
        };
        // One in three worlds is about nothing in particular.
        match THEMES.get(dice.below(THEMES.len() * 3 / 2)) {
            None => setting.menu = Op::menu(dice),
            Some(theme) => {
                setting.menu = theme.menu.to_vec();
                setting.first = theme.first;
                (theme.tune)(&mut setting, dice);
            }
        }
        setting
    }
}
