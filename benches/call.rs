//! What one call costs beside the network: decoding, preparing, the second stage; and the whole of it.
//!
//! `cargo bench -p dermafuse-benches --bench call -- --warm-up-time 0.5 --measurement-time 2`
//!
//! The photo of 12 megapixels is written to the target folder, where `call_reference.py` decodes it with Pillow.

use criterion::{Criterion, criterion_group, criterion_main};
use dermafuse::Patient;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseImages, CaseLoader, LoaderConfig, PatientImage, Preprocess, Strictness};
use dermafuse::ensemble::{ClassifierCluster, ClassifierKind, SecondStage, TwoStage};
use dermafuse::infer::Bundle;
use dermafuse::networks::MultimodalInput;
use dermafuse::networks::Network;
use dermafuse::schema::FuseSpace;
use dermafuse_benches::{branch_logits, labelled_records, large_photo, one_case, one_tower, photo};

/// Columns of a record.
const COLUMNS: usize = 20;

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call");
    group.sample_size(20);
    let photo: PatientImage = photo().into();
    group.bench_function("decode/600x450", |bencher| bencher.iter(|| photo.decode(Strictness::Strict).expect("whole")));
    let large = large_photo();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("call-12mp.jpg");
    std::fs::write(&file, &large).expect("the target folder is writable");
    let large: PatientImage = large.into();
    group.bench_function("decode/4000x3000", |bencher| {
        bencher.iter(|| large.decode(Strictness::Strict).expect("whole"))
    });

    for (name, image) in [("600x450", &photo), ("4000x3000", &large)] {
        let (set, images) = (one_case(), CaseImages { clinical: vec![image.clone()], ..CaseImages::default() });
        group.bench_function(format!("decode+prepare/{name}/224"), |bencher| {
            bencher.iter(|| {
                let config = LoaderConfig { dermoscopic: false, ..LoaderConfig::new(1, Preprocess::imagenet(224)) };
                CaseLoader::new(&set, 0, &images, config).expect("settings").next().expect("a look").expect("whole")
            });
        });
    }

    let mut all = branch_logits(207);
    (all.cohort.metadata, ..) = labelled_records(207, COLUMNS);
    all.cohort.has_metadata.fill(true);
    let first = all.fuse(&all.equal_weights(), FuseSpace::Logits).expect("branches");
    let stage =
        SecondStage::fit(&ClassifierCluster::params(ClassifierKind::Svm, 1), &first, &all.cohort).expect("cases");
    let two_stage = TwoStage::new(all.equal_weights(), FuseSpace::Logits, Some(stage), 0.5).expect("a mix");
    let one = all.select(&[3]);
    group.bench_function("second_stage/8_tasks/6_views", |bencher| {
        bencher.iter(|| two_stage.apply(&one).expect("logits of the model"));
    });
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call/mobilenet_v3_small/224/flex");
    group.sample_size(20);
    let bundle: Bundle = one_tower(BackboneKind::MobileNetV3Small);
    let set = one_case();
    let images = CaseImages { clinical: vec![photo().into()], ..CaseImages::default() };
    let config = LoaderConfig { dermoscopic: false, ..LoaderConfig::new(1, Preprocess::imagenet(224)) };
    let batch = CaseLoader::new(&set, 0, &images, config).expect("settings").next().expect("a look").expect("whole");
    let pixels = batch.clinical.expect("it is read");
    let data = burn::tensor::TensorData::new(pixels, [1, 3, 224, 224]);
    let clinical = burn::tensor::Tensor::<4>::from_data(data, &burn::tensor::Device::flex());
    let input = MultimodalInput { clinical: Some(clinical), dermoscopic: None, metadata: None };
    group.bench_function("forward", |bencher| {
        bencher.iter(|| bundle.network.forward(input.clone()).branches[0].logits[0].clone().into_data());
    });
    let model = dermafuse::Model::new(bundle.clone()).expect("parts that fit");
    let patient = Patient::new().clinical(photo());
    group.bench_function("predict/600x450", |bencher| bencher.iter(|| model.predict(&patient).expect("an answer")));
    group.finish();
}

criterion_group!(benches, parts, whole);
criterion_main!(benches);
