//! What a model predicts of a case is the same to the last bit alone and in every batch, in any order, beside any neighbours,
//! with any number of threads.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{CaseSet, MetadataEncoder, MetadataRoles, Preprocess};
use dermafuse::fusion::{FusionKind, MapAttention, MapFusionKind, MapProduct, SharedCrossAttentionConfig};
use dermafuse::infer::Predictor;
use dermafuse::networks::{
    AmfamConfig, AnyNetwork, AsymmetricFusionConfig, AttentionMap, CafNetConfig, EmbeddingNetConfig, FusionNetConfig,
    HcCnnConfig, HeadKind, ImageClassifierConfig, JointFusionConfig, JointIndividualFusionConfig,
    MetadataClassifierConfig, MetadataNetworkConfig, Modality, ModalitySubset, ModalitySubsetNetConfig,
    MultimodalInput, Network, NetworkConfig, OneStageFusionConfig, SeenImages, SingleSharedNetworkConfig, Squeeze,
    TFormerConfig, TripleNetConfig,
};
use dermafuse::schema::ndarray::Axis;
use dermafuse_tests::{device_lock, small_set, tensor_by_formula};

const BATCHES: [usize; 3] = [2, 8, 17];
/// Where in the set the cases are that are looked at alone.
const ALONE: [usize; 3] = [0, 5, 16];

/// Every kind of network, small where it can be, with the side of its images; `metadata` encoded columns.
fn networks(classes: &[usize], metadata: usize) -> Vec<(NetworkConfig, usize)> {
    use BackboneKind::{MobileNetV3Small, ResNet18Quarter};
    let classes = || classes.to_vec();
    let image = |view, head| {
        let config = ImageClassifierConfig::new(ResNet18Quarter, view, classes());
        NetworkConfig::ImageClassifier(ImageClassifierConfig { head, ..config })
    };
    let joint = |fusion: &str| {
        let fusion: FusionKind = fusion.parse().unwrap();
        JointFusionConfig::new(ResNet18Quarter, Modality::Clinical, metadata, fusion, classes())
    };
    // Values that are scattered are summed over positions.
    let scattering = MapAttention { product: MapProduct::Literal, ..MapAttention::default() };
    let shared = SharedCrossAttentionConfig { attention: scattering, ..SharedCrossAttentionConfig::default() };
    let mut networks = vec![
        (NetworkConfig::FusionNet(FusionNetConfig::new(ResNet18Quarter, classes())), 32),
        (image(Modality::Clinical, HeadKind::PerLocation), 64),
        (image(Modality::Dermoscopic, HeadKind::Mlp { dropout: 0.3 }), 32),
        (
            NetworkConfig::MetadataClassifier(MetadataClassifierConfig {
                metadata: MetadataNetworkConfig::new(metadata),
                classes: classes(),
            }),
            32,
        ),
        (NetworkConfig::JointIndividualFusion(JointIndividualFusionConfig::new(joint("mmfa"))), 32),
        (NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(classes())), 64),
        (
            NetworkConfig::SingleSharedNetwork(SingleSharedNetworkConfig::new(
                MobileNetV3Small,
                Some(MapFusionKind::SharedCrossAttention(shared)),
                classes(),
            )),
            64,
        ),
        (NetworkConfig::Amfam(AmfamConfig::new(ResNet18Quarter, classes())), 32),
        (NetworkConfig::EmbeddingNet(EmbeddingNetConfig::new(ResNet18Quarter, Some(metadata), classes())), 32),
        (
            NetworkConfig::ModalitySubsetNet(ModalitySubsetNetConfig {
                backbone: ResNet18Quarter,
                subsets: vec![ModalitySubset::Clinical, ModalitySubset::Fusion, ModalitySubset::All],
                record: Some(8),
                dropout: 0.2,
                ..ModalitySubsetNetConfig::kawahara(metadata, classes())
            }),
            32,
        ),
        (NetworkConfig::HcCnn(HcCnnConfig::new(ResNet18Quarter, classes())), 32),
        (NetworkConfig::CafNet(CafNetConfig::new(ResNet18Quarter, classes())), 32),
        (NetworkConfig::TripleNet(TripleNetConfig::new(ResNet18Quarter, classes())), 32),
        (NetworkConfig::TFormer(TFormerConfig::new(Some(metadata), classes())), 64),
        (
            NetworkConfig::OneStageFusion(OneStageFusionConfig {
                fusion: "meta_block".parse().unwrap(),
                ..OneStageFusionConfig::new(ResNet18Quarter, SeenImages::Both, Some(metadata), classes())
            }),
            32,
        ),
    ];
    networks.extend(FusionKind::ALL.map(|fusion| (NetworkConfig::JointFusion(joint(fusion)), 32)));
    networks
}

fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started").install(work)
}

/// Of each case, the bits of all branches' logits, all views.
fn logits(
    predictor: &Predictor<AnyNetwork>,
    set: &CaseSet,
    rows: &[usize],
    encoder: &MetadataEncoder,
) -> Vec<Vec<u32>> {
    let logits = predictor.logits(&set.view(rows).unwrap(), encoder, |_| ()).unwrap();
    let of_case = |case: usize| {
        let tasks = logits.branches.iter().flat_map(|branch| &branch.logits); // [V, N, K_t] each
        tasks.flat_map(move |task| {
            let views = task.index_axis(Axis(1), case); // [V, K_t]
            views.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>()
        })
    };
    (0..rows.len()).map(|case| of_case(case).collect()).collect()
}

#[test]
fn a_case_alone_is_a_case_among_others() {
    let _lock = device_lock();
    let (set, _) = small_set();
    let rows: Vec<usize> = (0..17).collect();
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::All).unwrap();
    for (config, size) in networks(&set.tasks.class_counts(), encoder.width()) {
        let what = serde_json::to_string(&config).unwrap();
        let network = config.init_seeded(0, &Device::flex().autodiff()).unwrap();
        let views = if size > 32 { "0" } else { "3" }; // the larger ones take their time
        let mut predictor = Predictor::new(&network, Preprocess::imagenet(size), views.parse().unwrap());
        let mut predict = |rows: &[usize], batch_size: usize, threads: usize| {
            (predictor.batch_size, predictor.threads) = (batch_size, threads);
            let (predictor, set, encoder) = (predictor.clone(), &set, &encoder);
            with_threads(threads, move || logits(&predictor, set, rows, encoder))
        };

        let expected = predict(&rows, 17, 2);
        assert!(expected.iter().flatten().all(|bits| f32::from_bits(*bits).is_finite()), "{what}");
        assert!(expected[1..].iter().any(|case| *case != expected[0]), "{what} tells cases apart");
        for case in ALONE {
            assert!(predict(&rows[case..=case], 16, 2)[0] == expected[case], "case {case} alone: {what}");
        }
        for (batch_size, threads) in [(1, 5), (3, 1), (16, 5)] {
            assert!(predict(&rows, batch_size, threads) == expected, "{batch_size} a batch, {threads} threads: {what}");
        }
        let reversed: Vec<usize> = rows.iter().rev().copied().collect();
        let mut found = predict(&reversed, 8, 2);
        found.reverse();
        assert!(found == expected, "from behind: {what}");
        // Other neighbours, and the same case twice.
        let found = predict(&[40, 5, 59, 5, 0], 5, 2);
        assert!(found[1] == expected[5] && found[3] == expected[5] && found[4] == expected[0], "neighbours: {what}");
    }
}

/// The tensors themselves, so that neighbours can be what no image and no record is.
#[test]
fn no_neighbour_matters() {
    let _lock = device_lock();
    let device = Device::flex();
    for (config, size) in networks(&[3, 5], 19) {
        let what = serde_json::to_string(&config).unwrap();
        let network = config.init_seeded(0, &device.clone().autodiff()).unwrap().valid();
        let case = |index: usize| {
            let image = |name: &str| tensor_by_formula(&format!("{name} {index}"), [1, 3, size, size], &device);
            let record = tensor_by_formula(&format!("record {index}"), [1, 19], &device);
            [image("clinical").flatten::<1>(0, 3), image("dermoscopic").flatten(0, 3), record.flatten(0, 1)]
        };
        // Of the first case, the bits of all branches' logits.
        let first = |cases: &[[Tensor<1>; 3]]| {
            let join = |part: usize| Tensor::cat(cases.iter().map(|case| case[part].clone()).collect(), 0);
            let images = |part: usize| join(part).reshape([cases.len(), 3, size, size]);
            let input = MultimodalInput {
                clinical: Some(images(0)),
                dermoscopic: Some(images(1)),
                metadata: Some(join(2).reshape([cases.len(), 19])),
            };
            let output = network.forward(input);
            let tasks = output.branches.into_iter().flat_map(|branch| branch.logits);
            tasks.flat_map(|task| bits(task.narrow(0, 0, 1))).collect::<Vec<u32>>()
        };
        let expected = first(&[case(0)]);
        for batch in BATCHES {
            let plain: Vec<_> = (0..batch).map(case).collect();
            assert!(first(&plain) == expected, "{batch} cases: {what}");
        }
        for value in [f32::NAN, 3e38] {
            let mut hostile = vec![case(0).map(|part| part.zeros_like() + value); 3];
            hostile[0] = case(0);
            assert!(first(&hostile) == expected, "beside {value}: {what}");
        }
    }
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
}

/// What networks have beside their logits.
#[test]
fn attention_maps_do_not_depend_on_neighbours() {
    let device = Device::flex();
    let maps = tensor_by_formula("maps", [17, 12, 10, 10], &device);
    for squeeze in [Squeeze::Pooled, Squeeze::Depthwise { side: 10 }] {
        let attention = AttentionMap::init(12, squeeze, &device).unwrap();
        let together = bits(attention.forward_scaled(maps.clone(), [33, 29]));
        for case in ALONE {
            let map = maps.clone().narrow(0, case, 1);
            let map = Tensor::<4>::from_data(
                TensorData::new(map.into_data().iter::<f32>().collect(), [1, 12, 10, 10]),
                &device,
            );
            let alone = bits(attention.forward_scaled(map, [33, 29]));
            assert!(alone == together[case * 33 * 29..][..33 * 29], "case {case}");
        }
    }
}
