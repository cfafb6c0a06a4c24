//! Reads Kubernetes objects without their bulkiest parts, which nothing here asks for: who wrote which field, the settings
//! of containers, the images of a node. What is left out is passed over while it is read, and never takes memory.

use std::fmt;

use futures::Stream;
use kube::Api;
use kube::api::{ListParams, ObjectList, WatchEvent, WatchParams};
use kube::core::request::Request;
use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor,
};

use crate::live::Object;

/// Types of Kubernetes, and the fields of each that are left out. All others are read.
const LEFT_OUT: [(&str, &[&str]); 8] = [
    // Most of a pod's JSON. The managers' names stay: a note that names no author is by the first of them.
    ("ManagedFieldsEntry", &["fieldsV1"]),
    (
        "PodSpec",
        &[
            "affinity",
            "ephemeralContainers",
            "imagePullSecrets",
            "securityContext",
            "tolerations",
            "topologySpreadConstraints",
        ],
    ),
    (
        "Container",
        &[
            "args",
            "command",
            "env",
            "envFrom",
            "lifecycle",
            "livenessProbe",
            "ports",
            "readinessProbe",
            "securityContext",
            "startupProbe",
            "volumeMounts",
        ],
    ),
    ("ContainerStatus", &["lastState", "resources", "volumeMounts"]),
    ("ProjectedVolumeSource", &["sources"]),
    ("NodeStatus", &["addresses", "capacity", "images", "volumesAttached", "volumesInUse"]),
    ("ReplicaSetSpec", &["template"]),
    ("StatefulSetSpec", &["template", "volumeClaimTemplates"]),
];

/// No field has this name, so the type passes over its value.
const NO_FIELD: &str = "";

fn left_out(of: &str) -> &'static [&'static str] {
    LEFT_OUT.iter().find(|(name, _)| *name == of).map_or(&[], |(_, fields)| fields)
}

/// An object that was read without what is left out.
#[derive(Clone)]
pub(super) struct Lean<K>(pub(super) K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Lean<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        K::deserialize(Sieve(from)).map(Self)
    }
}

/// One page of a list.
pub(super) async fn lean_list<K: Object>(
    api: &Api<K>,
    params: &ListParams,
) -> Result<ObjectList<Lean<K>>, kube::Error> {
    let request = Request::new(api.resource_url()).list(params).map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request(request).await
}

/// The events of a watch from a revision.
pub(super) async fn lean_watch<K: Object>(
    api: &Api<K>,
    params: &WatchParams,
    revision: &str,
) -> Result<impl Stream<Item = Result<WatchEvent<Lean<K>>, kube::Error>> + use<K>, kube::Error> {
    let request =
        Request::new(api.resource_url()).watch(params, revision).map_err(kube::Error::BuildRequest)?;
    api.clone().into_client().request_events(request).await
}

/// A reader whose structs lack the fields that are left out. Maps with keys of people's own, such as labels, are whole.
struct Sieve<D>(D);

macro_rules! whole {
    ($($method:ident($($name:ident: $kind:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)* Sifted { visitor, left_out: &[] })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Sieve<D> {
    type Error = D::Error;

    whole! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_seq() deserialize_map() deserialize_identifier()
        deserialize_ignored_any() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let left_out = left_out(name);
        // A field that the table misspells would be read in full, and no other test would fail.
        debug_assert!(left_out.iter().all(|field| fields.contains(field)), "{name} has other fields");
        self.0.deserialize_struct(name, fields, Sifted { visitor, left_out })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// What a value is built by, with the sieve around all that lies inside it.
struct Sifted<V> {
    visitor: V,
    left_out: &'static [&'static str],
}

macro_rules! plain {
    ($($method:ident($kind:ty))*) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Sifted<V> {
    type Value = V::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(out)
    }

    plain! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_u8(u8) visit_u16(u16)
        visit_u32(u32) visit_u64(u64) visit_f32(f32) visit_f64(f64) visit_char(char) visit_str(&str)
        visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Sieve(from))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Sieve(from))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(SiftedItems(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(SiftedFields { map, left_out: self.left_out })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(variant)
    }
}

struct SiftedItems<A>(A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for SiftedItems<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(SiftedSeed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

struct SiftedFields<A> {
    map: A,
    left_out: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SiftedFields<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.left_out.is_empty() {
            return self.map.next_key_seed(seed);
        }
        self.map.next_key_seed(FieldName { seed, left_out: self.left_out })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(SiftedSeed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

struct SiftedSeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for SiftedSeed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Sieve(from))
    }
}

/// The name of a field; that of none if the field is left out.
struct FieldName<S> {
    seed: S,
    left_out: &'static [&'static str],
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for FieldName<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for FieldName<S> {
    type Value = S::Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<S::Value, E> {
        let name = if self.left_out.contains(&name) { NO_FIELD } else { name };
        self.seed.deserialize(StrDeserializer::new(name))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    /// An object as it is read, written again.
    fn read<K: DeserializeOwned + Serialize>(object: &Value) -> Value {
        to_value(from_value::<Lean<K>>(object.clone()).unwrap().0).unwrap()
    }

    #[test]
    fn an_object_without_bulk_is_read_as_it_is() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "s", "uid": "u", "labels": {"env": "prod", "template": "x", "images": "y"},
                "annotations": {"args": "z", "fieldsV1": ""}, "creationTimestamp": "2026-11-01T10:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "v", "controller": true}]},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": "i:1"}],
                "volumes": [{"name": "t", "emptyDir": {"sizeLimit": "1Gi"}}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "i:1", "imageID": "i", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": "2026-11-01T10:00:05Z"}}}]}});
        assert_eq!(read::<Pod>(&pod), pod);
    }

    #[test]
    fn bulk_is_left_out_wherever_it_lies() {
        let written = json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:containers": {}}}}]);
        let bare = json!([{"manager": "kubectl", "operation": "Update"}]);
        let container =
            json!({"name": "c", "image": "i:1", "env": [{"name": "A", "value": "b"}], "args": ["x"]});
        let pod = |fields: &Value, container: Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": fields},
                "spec": {"containers": [container]}})
        };
        let left = pod(&bare, json!({"name": "c", "image": "i:1"}));
        assert_eq!(read::<Pod>(&pod(&written, container.clone())), left);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {
            "images": [{"names": ["i:1"]}], "conditions": [{"type": "Ready", "status": "True"}]}});
        let node = read::<Node>(&node);
        assert_eq!(node["status"], json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "d"}, "spec": {
            "replicas": 3, "selector": {}, "template": {"spec": {"containers": [container]}}}});
        let set = read::<StatefulSet>(&set);
        assert_eq!(set["spec"], json!({"replicas": 3, "selector": {}, "template": {}}));
    }

    #[test]
    fn what_is_left_out_may_be_anything() {
        let is_read = |object: Value| from_value::<Lean<Pod>>(object).is_ok();
        assert!(!is_read(json!({"metadata": {"name": 7}})));
        assert!(is_read(json!({"metadata": {"managedFields": [{"fieldsV1": "a text"}]}})));
        assert!(is_read(json!({"spec": {"containers": [{"name": "c", "env": 7}]}})));
    }
}
