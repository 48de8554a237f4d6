//! What operations are called.

use super::operation::Operation;

/// What a request was, as metrics and logs call it: an extension of every response to a request that could be read, so that
/// nobody needs to read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationName(pub &'static str);

impl Operation {
    /// What metrics and logs call it.
    pub fn name(&self) -> OperationName {
        OperationName(self.label())
    }

    fn label(&self) -> &'static str {
        match self {
            Operation::Ping => "ping",
            Operation::ListRepositories { .. } => "list_repositories",
            Operation::ListTags { .. } => "list_tags",
            Operation::ListReferrers { .. } => "list_referrers",
            Operation::StatBlob { .. } => "stat_blob",
            Operation::ReadBlob { .. } => "read_blob",
            Operation::DeleteBlob { .. } => "delete_blob",
            Operation::BeginUpload { .. } => "begin_upload",
            Operation::PushBlob { .. } => "push_blob",
            Operation::MountBlob { .. } => "mount_blob",
            Operation::UploadStatus { .. } => "upload_status",
            Operation::AppendUpload { .. } => "append_upload",
            Operation::FinishUpload { .. } => "finish_upload",
            Operation::CancelUpload { .. } => "cancel_upload",
            Operation::StatManifest { .. } => "stat_manifest",
            Operation::GetManifest { .. } => "get_manifest",
            Operation::PutManifest { .. } => "put_manifest",
            Operation::DeleteManifest { .. } => "delete_manifest",
        }
    }
}
