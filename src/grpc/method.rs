//! Every method that the port serves, and what its callers must be good for.

use std::sync::Arc;

use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel};

use crate::{credentials::Role, proto};

/// Reads only, but is the only one of its kind at a time and has the database read its statistics for as long as it
/// lasts: not for everybody who may ask for counts.
const COSTLY: [&str; 1] = ["rowcount.v1.RateService/ValidateRates"];

/// What asks for nothing: probes have neither certificate nor token.
const OPEN: &str = "grpc.health.v1.Health/";

/// A method.
#[derive(Clone, Debug)]
pub struct Method {
    /// `package.Service/Method`.
    pub name: Arc<str>,
    /// `None`: everybody may call it.
    pub needed: Option<Role>,
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct Methods {
    served: Arc<[Method]>,
    /// Stands for every path that does not exist, so that callers cannot make label values.
    other: Method,
}

// === impl Methods ===

impl Methods {
    /// As the protobuf files have them: one without side effects is to read, any other to operate.
    pub fn served() -> Self {
        let mut served = Vec::new();
        for set in [proto::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET] {
            let set = FileDescriptorSet::decode(set).expect("the descriptors are compiled in");
            for file in set.file {
                for service in &file.service {
                    let path = |method: &str| format!("{}.{}/{method}", file.package(), service.name());
                    served.extend(service.method.iter().map(|method| Method::new(path(method.name()), method)));
                }
            }
        }
        for version in ["v1", "v1alpha"] {
            let name = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo").into();
            served.push(Method { name, needed: Some(Role::Read) });
        }
        // It will be answered with UNIMPLEMENTED, once it is known who asks.
        let other = Method { name: "_OTHER".into(), needed: Some(Role::Read) };
        Self { served: served.into(), other }
    }

    /// The method at the path of a request.
    pub fn find(&self, path: &str) -> &Method {
        let path = path.trim_start_matches('/');
        self.served.iter().find(|method| *method.name == *path).unwrap_or(&self.other)
    }
}

// === impl Method ===

impl Method {
    fn new(name: String, method: &MethodDescriptorProto) -> Self {
        let level = method.options.as_ref().map(|options| options.idempotency_level());
        let needed = if name.starts_with(OPEN) {
            None
        } else if level == Some(IdempotencyLevel::NoSideEffects) && !COSTLY.contains(&&*name) {
            Some(Role::Read)
        } else {
            Some(Role::Operate)
        };
        Self { name: name.into(), needed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_or_costs_something_is_for_operators_and_health_for_everybody() {
        let methods = Methods::served();
        let of = |needed| {
            let found = methods.served.iter().filter(|method| method.needed == needed);
            let mut names: Vec<_> = found.map(|method| method.name.rsplit_once('/').unwrap().1).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(of(Some(Role::Operate)), ["ResignLease", "TriggerCollection", "ValidateRates"]);
        assert_eq!(of(None), ["Check", "Watch"]);
        let read = [
            "EstimateRates",
            "GetCollection",
            "GetCostModel",
            "GetLeaseStatus",
            "GetRowCounts",
            "ListCollections",
            "ListQueries",
            "ServerReflectionInfo",
            "ServerReflectionInfo",
            "WatchLease",
            "WatchRowCounts",
        ];
        assert_eq!(of(Some(Role::Read)), read);
    }

    #[test]
    fn a_path_that_does_not_exist_is_one_method() {
        let methods = Methods::served();
        for path in ["/", "", "/rowcount.v1.RowCountService/Drop", "/grpc.health.v1.Health/Drop"] {
            assert_eq!(&*methods.find(path).name, "_OTHER");
        }
        assert_eq!(methods.find("/grpc.health.v1.Health/Check").needed, None);
    }
}
