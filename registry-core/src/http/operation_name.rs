//! What operations are called.

use super::operation::Operation;

/// What a request was, as metrics and logs call it: an extension of every response to a request that could be read, so that
/// nobody needs to read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationName(pub &'static str);

/// Names every operation once, so that none is missing from the list of them.
macro_rules! names {
    ($($operation:ident = $name:literal,)*) => {
        impl OperationName {
            /// Those of all operations.
            pub const ALL: &'static [OperationName] = &[$(OperationName($name),)*];
        }

        impl Operation {
            /// What metrics and logs call it.
            pub fn name(&self) -> OperationName {
                OperationName(match self { $(Operation::$operation { .. } => $name,)* })
            }
        }
    };
}

names! {
    Ping = "ping",
    ListRepositories = "list_repositories",
    ListTags = "list_tags",
    ListReferrers = "list_referrers",
    StatBlob = "stat_blob",
    ReadBlob = "read_blob",
    DeleteBlob = "delete_blob",
    BeginUpload = "begin_upload",
    PushBlob = "push_blob",
    MountBlob = "mount_blob",
    UploadStatus = "upload_status",
    AppendUpload = "append_upload",
    FinishUpload = "finish_upload",
    CancelUpload = "cancel_upload",
    StatManifest = "stat_manifest",
    GetManifest = "get_manifest",
    PutManifest = "put_manifest",
    DeleteManifest = "delete_manifest",
}
