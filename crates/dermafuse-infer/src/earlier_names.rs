//! Names in the descriptions of models that earlier versions wrote.

use dermafuse_networks::NetworkKind;
use serde_json::{Map, Value};

/// A description whose network and modules are told by `kind`, as they are now: earlier versions called it `network`, `fusion`
/// and `map_fusion`, and put what joint-individual fusion shares with joint fusion in a table of its own. Networks of other crates,
/// which earlier versions did not have, stay as they are.
pub(crate) fn with_kinds(mut description: Value) -> Value {
    if let Some(Value::Object(network)) = description.get_mut("network") {
        let is_earlier = rename(network, "network");
        let kind = network.get("kind").and_then(Value::as_str).and_then(|kind| kind.parse::<NetworkKind>().ok());
        if kind == Some(NetworkKind::JointIndividualFusion)
            && let Some(Value::Object(joint)) = network.remove("joint")
        {
            network.extend(joint);
        }
        if (is_earlier || kind.is_some())
            && let Some(Value::Object(fusion)) = network.get_mut("fusion")
        {
            rename(fusion, "fusion");
            rename(fusion, "map_fusion");
        }
    }
    description
}

/// Whether the kind had the earlier name.
fn rename(table: &mut Map<String, Value>, earlier: &str) -> bool {
    if table.contains_key("kind") || !table.get(earlier).is_some_and(Value::is_string) {
        return false;
    }
    let kind = table.remove(earlier);
    table.extend(kind.map(|kind| ("kind".to_owned(), kind)));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_backbones::BackboneKind;
    use dermafuse_fusion::FusionKind;
    use dermafuse_networks::{
        AsymmetricFusionConfig, FusionNetConfig, JointFusionConfig, JointIndividualFusionConfig, Modality,
        NetworkConfig,
    };
    use serde_json::json;

    #[test]
    fn earlier_descriptions_are_read() {
        let read = |network: Value| -> NetworkConfig {
            let description = with_kinds(json!({ "data_set": "a", "network": network }));
            assert_eq!(description["data_set"], "a");
            serde_json::from_value(description["network"].clone()).unwrap()
        };
        let config = FusionNetConfig::new(BackboneKind::ResNet18, vec![2]);
        let earlier =
            json!({ "network": "fusion_net", "backbone": "resnet18", "classes": [2], "dropout": config.dropout });
        assert_eq!(read(earlier), NetworkConfig::FusionNet(config));

        let fusion: FusionKind = "mmfa".parse().unwrap();
        let joint = JointFusionConfig::new(BackboneKind::ResNet18, Modality::Clinical, 7, fusion, vec![2, 3]);
        let config = NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint));
        let now = serde_json::to_value(&config).unwrap();
        assert_eq!(read(now.clone()), config);
        let (mut earlier, mut joint) = (json!({ "network": now["kind"], "beta": now["beta"] }), now);
        let joint = joint.as_object_mut().unwrap();
        joint.remove("kind");
        joint.remove("beta");
        let module = joint["fusion"].as_object_mut().unwrap();
        let kind = module.remove("kind").unwrap();
        module.insert("fusion".into(), kind);
        earlier["joint"] = json!(joint);
        assert_eq!(read(earlier), config);

        let config = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(vec![4]));
        let mut earlier = serde_json::to_value(&config).unwrap();
        let module = earlier["fusion"].as_object_mut().unwrap();
        let kind = module.remove("kind").unwrap();
        module.insert("map_fusion".into(), kind);
        let kind = earlier.as_object_mut().unwrap().remove("kind").unwrap();
        earlier["network"] = kind;
        assert_eq!(read(earlier), config);
    }

    #[test]
    fn networks_of_other_crates_stay_as_they_are() {
        let network =
            json!({ "kind": "mine", "joint": { "depth": 2 }, "fusion": { "fusion": "sum" }, "network": "inner" });
        let description = json!({ "network": network });
        assert_eq!(with_kinds(description.clone()), description);
    }
}
