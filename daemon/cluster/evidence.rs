//! Reads the objects of addons as a whole, once before a run.

use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::manifest::{AT_ONCE, ServedVersions, Versions, address_if_served};
use super::{ClusterApi, call};
use crate::live::ObjectsBefore;
use crate::model::evidence::EvidenceQuestion;
use crate::model::live::CallFailure;
use crate::model::manifest::ObjectRef;

impl ClusterApi {
    /// How objects are, Secrets left out.
    pub(super) async fn evidence(&self, question: &EvidenceQuestion) -> ObjectsBefore {
        let objects: Vec<&ObjectRef> = question.objects.iter().filter(|object| !object.is_secret()).collect();
        let mut served = self.served(objects.iter().map(|object| &object.api_version)).await;
        self.serve_elsewhere(&objects, &mut served).await;
        let served = &served;
        let mut reads = Vec::new();
        for object in objects {
            reads.push(async move { (object.clone(), self.before(object, served).await) });
        }
        stream::iter(reads).buffered(AT_ONCE).collect().await
    }

    async fn before(
        &self,
        object: &ObjectRef,
        served: &ServedVersions,
    ) -> Result<Option<Value>, CallFailure> {
        let Some(address) = address_if_served(object, served, Versions::OfGroup)? else { return Ok(None) };
        let found = call(self.api_of(object, &address).get_opt(&object.name)).await;
        found.map(|found| found.map(|found| json!(found))).map_err(|error| error.failure())
    }
}
