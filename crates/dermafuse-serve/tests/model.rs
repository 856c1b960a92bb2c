//! A saved model behind the API: what it answers is what the model says, and damaged images are named.

mod support;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use burn::tensor::Device;
use dermafuse_backbones::BackboneKind;
use dermafuse_data::{
    MetadataEncoder, MetadataRoles, Preprocess, RgbPixels, Strictness, decode_bytes, encode_jpeg, encode_png,
};
use dermafuse_ensemble::TwoStage;
use dermafuse_infer::{Bundle, BundleDescription, Model, Patient};
use dermafuse_networks::{NetworkConfig, OneStageFusionConfig, SeenImages};
use dermafuse_schema::{BranchWeights, Case, Field, FieldRole, FieldValue, FuseSpace, Task, TaskSet};
use dermafuse_serve::{App, ModelClassifier, ServeConfig};
use http_body_util::BodyExt;
use serde_json::Value;
use support::http::form;
use support::{HOST, sink};
use tower::ServiceExt;

/// A small model that nobody trained.
fn model() -> Model {
    let tasks = TaskSet::new(vec![
        Task::new("diagnosis", "DIAG", ["BCC", "NEV", "MEL"]),
        Task::new("veil", "BWV", ["ABS", "PRS"]).with_reference("ABS"),
    ])
    .unwrap();
    let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
    let age = Field::numeric("age", FieldRole::PreDiagnosis);
    let case = |sex, age| Case { metadata: vec![FieldValue::Category(sex), FieldValue::Number(age)], ..Case::new("1") };
    let encoder =
        MetadataEncoder::fit(&[sex, age], &[case(0, 20.0), case(1, 80.0)], MetadataRoles::PreDiagnosis).unwrap();
    let (images, width) = (SeenImages::Both, Some(encoder.width()));
    let config = OneStageFusionConfig::new(BackboneKind::ResNet18Quarter, images, width, tasks.class_counts());
    let network = NetworkConfig::OneStageFusion(config);
    let trained = network.init_seeded(5, &Device::flex()).unwrap();
    let description = BundleDescription {
        synthetic: true,
        encoder,
        ..BundleDescription::new(tasks, network, Preprocess::imagenet(48))
    };
    let branch_weights = BranchWeights::new([("fusion", 1.0)]).unwrap();
    let two_stage = TwoStage::new(branch_weights, FuseSpace::Logits, None, 1.0).unwrap();
    Model::new(Bundle::new(description, trained, two_stage)).unwrap()
}

/// A photo of some structure.
fn photo(width: usize, height: usize) -> RgbPixels {
    let pixel = |at: usize| [(at * 7 % 256) as u8, (at / width * 5 % 256) as u8, (at % width * 3 % 256) as u8];
    RgbPixels::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
}

async fn ask(router: &Router, path: &str, parts: &[(&str, Option<&str>, &[u8])]) -> (u16, Value) {
    let (kind, body) = form(parts);
    let request = Request::post(path).header("host", HOST).header("content-type", kind).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

fn router(model: &Model) -> Router {
    let classifier = Arc::new(ModelClassifier::new(model.clone()).unwrap());
    App::new(classifier, HOST.parse().unwrap(), ServeConfig::default(), None, sink().0).unwrap().router()
}

#[tokio::test]
async fn the_api_says_what_the_model_says() {
    let model = model();
    let router = router(&model);
    let (clinical, dermoscopic) = (encode_jpeg(&photo(120, 90), 90).unwrap(), encode_png(&photo(64, 64)));
    let parts: [(&str, Option<&str>, &[u8]); 4] = [
        ("clinical", Some("Jane Doe.jpg"), &clinical),
        ("dermoscopic", Some("b.png"), &dermoscopic),
        ("fields.sex", None, b"female"),
        ("fields.age", None, b"95"),
    ];
    let (status, said) = ask(&router, "/v1/predict", &parts).await;
    assert_eq!(status, 200, "{said}");
    let patient = Patient::new().clinical(clinical.clone()).dermoscopic(dermoscopic.clone());
    let answer = model.predict(&patient.set("sex", "female").set("age", 95)).unwrap();
    for (task, said) in answer.tasks().iter().zip(said["tasks"].as_array().unwrap()) {
        for (ranked, said) in task.ranked().iter().zip(said["classes"].as_array().unwrap()) {
            assert_eq!(
                (said["name"].as_str(), said["probability"].as_f64()),
                (Some(&*ranked.class), Some(ranked.probability))
            );
        }
    }
    assert_eq!(said["basis"]["images"], serde_json::json!(["clinical", "dermoscopic"]));
    assert_eq!(said["basis"]["fields"], serde_json::json!(["sex", "age"]));
    let kinds: Vec<&str> = said["notes"].as_array().unwrap().iter().filter_map(|note| note["kind"].as_str()).collect();
    assert!(kinds.contains(&"out_of_range") && kinds.contains(&"synthetic_training"), "{kinds:?}");
    assert!(!said.to_string().contains("Jane"));

    let (status, said) = ask(&router, "/v1/explain", &parts).await;
    assert_eq!(
        (status, &said["task"], said["heat"].as_array().unwrap().len()),
        (200, &"diagnosis".into(), 2),
        "{said}"
    );
    for (heat, size) in said["heat"].as_array().unwrap().iter().zip([(120, 90), (64, 64)]) {
        let overlay = heat["overlay"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD.decode(overlay).unwrap();
        let pixels = decode_bytes("overlay", &bytes, Strictness::Strict).unwrap();
        assert_eq!((pixels.width(), pixels.height()), size);
    }
    for of in said["contributions"].as_array().unwrap() {
        let sum: f64 = of["inputs"].as_array().unwrap().iter().filter_map(|input| input["adds"].as_f64()).sum();
        let expected = of["probability"].as_f64().unwrap() - of["baseline"].as_f64().unwrap();
        assert!((sum - expected).abs() < 1e-9, "{of}");
    }
    let names: Vec<&Value> =
        said["contributions"][0]["inputs"].as_array().unwrap().iter().map(|input| &input["input"]).collect();
    assert_eq!(names, ["clinical", "dermoscopic", "fields.sex", "fields.age"]);
    let (_, of_veil) = ask(&router, "/v1/explain", &[parts[0], parts[1], ("task", None, b"veil")]).await;
    assert_eq!(of_veil["task"], "veil");
}

#[tokio::test]
async fn what_the_model_cannot_use_is_named() {
    let router = router(&model());
    let (good, large) = (encode_jpeg(&photo(120, 90), 90).unwrap(), encode_jpeg(&photo(400, 300), 90).unwrap());
    let bomb = {
        // A header that claims 60,000 x 60,000 pixels.
        let mut jpeg = good.clone();
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
        jpeg
    };
    for (clinical, dermoscopic, field) in [
        (&large[..large.len() / 2], &good[..], "clinical"),
        (&good, &large[..large.len() - 40], "dermoscopic"),
        (b"no image", &good, "clinical"),
        (&good, b"%PDF-1.4", "dermoscopic"),
        (&bomb, &good, "clinical"),
        (b"/etc/passwd", &good, "clinical"),
    ] {
        let (status, said) =
            ask(&router, "/v1/predict", &[("clinical", Some("a"), clinical), ("dermoscopic", Some("b"), dermoscopic)])
                .await;
        let error = &said["error"];
        assert_eq!((status, &error["code"], &error["field"]), (422, &"image".into(), &field.into()), "{said}");
    }
    let both: [(&str, Option<&str>, &[u8]); 2] = [("clinical", Some("a"), &good), ("dermoscopic", Some("b"), &good)];
    for (name, value, code) in [
        ("fields.seks", "female", "unknown_field"),
        ("fields.sex", "f", "field_value"),
        ("fields.sex", "../../etc/passwd", "field_value"),
        ("fields.age", "old", "field_value"),
        ("fields.age", "NaN", "field_value"),
        ("fields.age", "inf", "field_value"),
        ("task", "veils", "unknown_task"),
    ] {
        let (status, said) = ask(&router, "/v1/explain", &[both[0], both[1], (name, None, value.as_bytes())]).await;
        let error = &said["error"];
        assert_eq!((status, &error["code"], &error["field"]), (422, &code.into(), &name.into()), "{said}");
    }
    let (status, said) = ask(&router, "/v1/predict", &both[..1]).await;
    assert_eq!((status, &said["error"]["code"]), (422, &"not_enough".into()), "{said}");
    assert_eq!(ask(&router, "/v1/predict", &both).await.0, 200);
}

/// A model that was trained on images cut to the lesion cuts what it is sent, in answers and in heat maps.
#[tokio::test]
async fn a_lesion_box_is_cut_out() {
    let mut bundle = model().bundle().clone();
    bundle.description.preprocess.box_margin = Some(0.0);
    let cutting = Model::new(bundle).unwrap();
    let router = router(&cutting);
    let whole = photo(120, 90);
    let rows = whole.data().chunks_exact(360).skip(20).take(40);
    let part = RgbPixels::new(50, 40, rows.flat_map(|row| row[30..180].to_vec()).collect()).unwrap();
    let [whole, part] = [&whole, &part].map(encode_png);
    let dermoscopic = encode_png(&photo(64, 64));
    let sent = |lesion: &'static [u8]| -> [(&str, Option<&str>, &[u8]); 4] {
        [
            ("clinical", Some("a.png"), &whole),
            ("clinical_box", None, lesion),
            ("dermoscopic", Some("b.png"), &dermoscopic),
            ("fields.sex", None, b"female"),
        ]
    };
    let (status, said) = ask(&router, "/v1/predict", &sent(b"10,20,50,40")).await;
    assert_eq!(status, 200, "{said}");
    let answer = cutting.predict(&Patient::new().clinical(part).dermoscopic(dermoscopic.clone()).set("sex", "female"));
    let expected = answer.unwrap().tasks()[0].top().probability;
    assert_eq!(said["tasks"][0]["classes"][0]["probability"].as_f64(), Some(expected));
    let taken_whole = |said: &Value| -> Vec<Value> {
        let notes = said["notes"].as_array().unwrap();
        notes.iter().filter(|note| note["kind"] == "taken_whole").map(|note| note["image"].clone()).collect()
    };
    assert_eq!(taken_whole(&said), ["dermoscopic"]);
    let (_, bare) = ask(&router, "/v1/predict", &sent(b"")).await;
    assert_eq!(taken_whole(&bare), ["clinical", "dermoscopic"]);
    assert_ne!(bare["tasks"], said["tasks"]);

    let (status, said) = ask(&router, "/v1/explain", &sent(b"10,20,50,40")).await;
    assert_eq!(status, 200, "{said}");
    for (heat, size) in said["heat"].as_array().unwrap().iter().zip([(50, 40), (64, 64)]) {
        let overlay = heat["overlay"].as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD.decode(overlay).unwrap();
        let pixels = decode_bytes("overlay", &bytes, Strictness::Strict).unwrap();
        assert_eq!((pixels.width(), pixels.height()), size);
    }

    for lesion in [&b"100,20,50,40"[..], b"10,20,0,40"] {
        let (status, said) = ask(&router, "/v1/predict", &sent(lesion)).await;
        assert_eq!((status, said["error"]["code"].as_str()), (422, Some("lesion_box")), "{said}");
        assert_eq!(said["error"]["field"], "clinical_box", "{said}");
    }
}
