//! The closed list of built-in backbones, and one module type that holds any of them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::{Backbone, ParameterGroup, Pretrained, PublishedConstant};
use crate::convnext::{ConvNeXt, ConvNeXtConfig};
use crate::densenet::{DenseNet, DenseNetConfig};
use crate::efficientnet::{EfficientNet, EfficientNetConfig};
use crate::efficientnet_lite::{EfficientNetLite, EfficientNetLiteConfig};
use crate::error::BackboneError;
use crate::facts::{Facts, KeyStyle, PublishedInput, TORCHVISION};
use crate::inception::{InceptionV3, InceptionV3Config};
use crate::mobilenet_v2::{MobileNetV2, MobileNetV2Config};
use crate::mobilenet_v3::{MobileNetV3, MobileNetV3Config};
use crate::published_weights::{PublishedWeights, dino_v2, timm, torchvision, torchvision_from_timm};
use crate::resnet::{ResNet, ResNetConfig};
use crate::squeezenet::{SqueezeNet, SqueezeNetConfig};
use crate::stage_sides::{
    DENSENET, INCEPTION, PATCHES_14, PATCHES_16, ROUNDED_DOWN, SQUEEZENET, SWIN, XCEPTION, stage_sides,
};
use crate::swin::{Swin, SwinConfig};
use crate::vgg::{Vgg16, Vgg16Config};
use crate::vision_transformer::{VisionTransformer, VisionTransformerConfig};
use crate::weights::{LoadOptions, load_weights, save_weights};
use crate::xception::{Xception, XceptionConfig};

/// Turns the table of families and kinds into [`BackboneKind`], [`AnyBackbone`] and `inside!`.
macro_rules! built_in {
    ($(
        $(#[$family_doc:meta])*
        $family:ident {$(
            $(#[$kind_doc:meta])*
            $kind:ident $name:literal = $config:expr, $facts:expr;
        )+}
    )+) => {
        /// A built-in architecture; as text (and in files) by its torchvision or timm name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum BackboneKind {$($(
            $(#[$kind_doc])*
            #[serde(rename = $name)]
            $kind,
        )+)+}

        impl BackboneKind {
            const COUNT: usize = [$($(Self::$kind),+),+].len();

            /// All built-in architectures.
            pub const ALL: [Self; Self::COUNT] = [$($(Self::$kind),+),+];

            /// The name in torchvision or timm, e.g. `resnet50`.
            pub const fn name(self) -> &'static str {
                match self {$($(Self::$kind => $name,)+)+}
            }

            const fn facts(self) -> Facts {
                match self {$($(Self::$kind => $facts,)+)+}
            }

            /// Initializes the network with random weights, drawn from the device's generator; with `num_classes`, it
            /// has the published architecture's classifier.
            pub fn init(&self, num_classes: Option<usize>, device: &Device) -> AnyBackbone {
                match self {$($(
                    Self::$kind => AnyBackbone::$family($config.with_num_classes(num_classes).init(device)),
                )+)+}
            }
        }

        /// A backbone chosen at run time. Should be created using [`BackboneKind::init`].
        #[derive(Module, Debug)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "a handful exist at a time, and Burn's modules cannot be boxed")]
        pub enum AnyBackbone {$(
            $(#[$family_doc])*
            $family($family),
        )+}

        impl AnyBackbone {
            /// The name of the variant.
            const fn family(&self) -> &'static str {
                match self {$(Self::$family(_) => stringify!($family),)+}
            }
        }

        $(impl From<$family> for AnyBackbone {
            fn from(network: $family) -> Self {
                Self::$family(network)
            }
        })+

        define_inside! { ($) $($family)+ }
    };
}

/// Defines `inside!`, which evaluates an expression on the network inside; it takes the dollar sign to write a macro.
macro_rules! define_inside {
    (($dollar:tt) $($family:ident)+) => {
        macro_rules! inside {
            ($dollar any:expr, $dollar network:ident => $dollar result:expr) => {
                match $dollar any {$(AnyBackbone::$family($dollar network) => $dollar result,)+}
            };
        }
    };
}

// The table of everything built in: a family is a module type, a kind one of its presets.
//
// A new kind is a row, a new family a block of rows; enums, names, facts and dispatch follow.
built_in! {
    /// ResNet-18, -34, -50 or -101.
    ResNet {
        /// ResNet-18.
        ResNet18 "resnet18" = ResNetConfig::resnet18(), Facts {
            channels: [64, 128, 256, 512],
            num_params: [11_689_512, 11_176_512],
            gflops: 1.814,
            weights: torchvision("https://download.pytorch.org/models/resnet18-f37072fd.pth", "f37072fd"),
            ..TORCHVISION
        };
        /// ResNet-18 with a quarter of its channels; no published weights. For quick trials, small machines and tests.
        ResNet18Quarter "resnet18_quarter" = ResNetConfig::resnet18_quarter(), Facts {
            channels: [16, 32, 64, 128],
            num_params: [831_096, 702_096],
            gflops: 0.136,
            ..TORCHVISION
        };
        /// ResNet-34.
        ResNet34 "resnet34" = ResNetConfig::resnet34(), Facts {
            channels: [64, 128, 256, 512],
            num_params: [21_797_672, 21_284_672],
            gflops: 3.664,
            weights: torchvision("https://download.pytorch.org/models/resnet34-b627a593.pth", "b627a593"),
            ..TORCHVISION
        };
        /// ResNet-50, stride in the 3×3 convolution.
        ResNet50 "resnet50" = ResNetConfig::resnet50(), Facts {
            channels: [256, 512, 1024, 2048],
            num_params: [25_557_032, 23_508_032],
            gflops: 4.089,
            weights: torchvision("https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61"),
            ..TORCHVISION
        };
        /// ResNet-101, stride in the 3×3 convolution.
        ResNet101 "resnet101" = ResNetConfig::resnet101(), Facts {
            channels: [256, 512, 1024, 2048],
            num_params: [44_549_160, 42_500_160],
            gflops: 7.801,
            weights: torchvision("https://download.pytorch.org/models/resnet101-63fe2227.pth", "63fe2227"),
            ..TORCHVISION
        };
    }
    /// MobileNetV2.
    MobileNetV2 {
        /// MobileNetV2, width 1.0.
        MobileNetV2 "mobilenet_v2" = MobileNetV2Config::new(), Facts {
            channels: [24, 32, 96, 1280],
            num_params: [3_504_872, 2_223_872],
            gflops: 0.301,
            weights: torchvision("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", "b0353104"),
            ..TORCHVISION
        };
    }
    /// MobileNetV3, small or large.
    MobileNetV3 {
        /// MobileNetV3-Small, width 1.0.
        MobileNetV3Small "mobilenet_v3_small" = MobileNetV3Config::small(), Facts {
            channels: [16, 24, 48, 576],
            num_params: [2_542_856, 927_008],
            gflops: 0.057,
            weights: torchvision("https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth", "047dcff4"),
            ..TORCHVISION
        };
        /// MobileNetV3-Large, width 1.0.
        MobileNetV3Large "mobilenet_v3_large" = MobileNetV3Config::large(), Facts {
            channels: [24, 40, 112, 960],
            num_params: [5_483_032, 2_971_952],
            gflops: 0.217,
            weights: torchvision("https://download.pytorch.org/models/mobilenet_v3_large-8738ca79.pth", "8738ca79"),
            ..TORCHVISION
        };
    }
    /// EfficientNet-B0, -B1, -B2 or -B3.
    EfficientNet {
        /// EfficientNet-B0.
        EfficientNetB0 "efficientnet_b0" = EfficientNetConfig::b0(), Facts {
            channels: [24, 40, 112, 1280],
            num_params: [5_288_548, 4_007_548],
            gflops: 0.386,
            preprocess: PublishedInput::IMAGENET.bicubic(),
            weights: torchvision_from_timm("https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth", "7f5810bc"),
            ..TORCHVISION
        };
        /// EfficientNet-B1.
        EfficientNetB1 "efficientnet_b1" = EfficientNetConfig::b1(), Facts {
            channels: [24, 40, 112, 1280],
            num_params: [7_794_184, 6_513_184],
            gflops: 0.57,
            preprocess: PublishedInput::IMAGENET.sizes(256, 240).bicubic(),
            weights: torchvision_from_timm("https://download.pytorch.org/models/efficientnet_b1_rwightman-bac287d4.pth", "bac287d4"),
            ..TORCHVISION
        };
        /// EfficientNet-B2.
        EfficientNetB2 "efficientnet_b2" = EfficientNetConfig::b2(), Facts {
            channels: [24, 48, 120, 1408],
            num_params: [9_109_994, 7_700_994],
            gflops: 0.659,
            preprocess: PublishedInput::IMAGENET.sizes(288, 288).bicubic(),
            weights: torchvision_from_timm("https://download.pytorch.org/models/efficientnet_b2_rwightman-c35c1473.pth", "c35c1473"),
            ..TORCHVISION
        };
        /// EfficientNet-B3.
        EfficientNetB3 "efficientnet_b3" = EfficientNetConfig::b3(), Facts {
            channels: [32, 48, 136, 1536],
            num_params: [12_233_232, 10_696_232],
            gflops: 0.963,
            preprocess: PublishedInput::IMAGENET.sizes(320, 300).bicubic(),
            weights: torchvision_from_timm("https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth", "b3899882"),
            ..TORCHVISION
        };
    }
    /// EfficientNet-Lite0 to -Lite4.
    EfficientNetLite {
        /// EfficientNet-Lite0, padded as in TensorFlow: timm's `tf_efficientnet_lite0`, not its `efficientnet_lite0`.
        EfficientNetLite0 "tf_efficientnet_lite0" = EfficientNetLiteConfig::lite0(), Facts {
            channels: [24, 40, 112, 1280],
            num_params: [4_652_008, 3_371_008],
            gflops: 0.385,
            preprocess: PublishedInput::lite(224),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite0-0aa007d2.pth", "0aa007d2"),
            ..TORCHVISION
        };
        /// EfficientNet-Lite1, padded as in TensorFlow: timm's `tf_efficientnet_lite1`, not its `efficientnet_lite1`.
        EfficientNetLite1 "tf_efficientnet_lite1" = EfficientNetLiteConfig::lite1(), Facts {
            channels: [24, 40, 112, 1280],
            num_params: [5_416_680, 4_135_680],
            gflops: 0.502,
            preprocess: PublishedInput::lite(240),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite1-bde8b488.pth", "bde8b488"),
            ..TORCHVISION
        };
        /// EfficientNet-Lite2, padded as in TensorFlow: timm's `tf_efficientnet_lite2`, not its `efficientnet_lite2`.
        EfficientNetLite2 "tf_efficientnet_lite2" = EfficientNetLiteConfig::lite2(), Facts {
            channels: [24, 48, 120, 1280],
            num_params: [6_092_072, 4_811_072],
            gflops: 0.577,
            preprocess: PublishedInput::lite(260),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite2-dcccb7df.pth", "dcccb7df"),
            ..TORCHVISION
        };
        /// EfficientNet-Lite3, padded as in TensorFlow: timm's `tf_efficientnet_lite3`, not its `efficientnet_lite3`.
        EfficientNetLite3 "tf_efficientnet_lite3" = EfficientNetLiteConfig::lite3(), Facts {
            channels: [32, 48, 136, 1280],
            num_params: [8_197_096, 6_916_096],
            gflops: 0.852,
            preprocess: PublishedInput::lite(280),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite3-b733e338.pth", "b733e338"),
            ..TORCHVISION
        };
        /// EfficientNet-Lite4, padded as in TensorFlow: timm's `tf_efficientnet_lite4`, not its `efficientnet_lite4`.
        EfficientNetLite4 "tf_efficientnet_lite4" = EfficientNetLiteConfig::lite4(), Facts {
            channels: [32, 56, 160, 1280],
            num_params: [13_006_568, 11_725_568],
            gflops: 1.348,
            preprocess: PublishedInput::lite(300),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/tf_efficientnet_lite4-741542c3.pth", "741542c3"),
            ..TORCHVISION
        };
    }
    /// DenseNet-121 or -201.
    DenseNet {
        /// DenseNet-121.
        DenseNet121 "densenet121" = DenseNetConfig::densenet121(), Facts {
            channels: [256, 512, 1024, 1024],
            shrinks: DENSENET,
            num_params: [7_978_856, 6_953_856],
            gflops: 2.834,
            weights: torchvision("https://download.pytorch.org/models/densenet121-a639ec97.pth", "a639ec97"),
            ..TORCHVISION
        };
        /// DenseNet-201.
        DenseNet201 "densenet201" = DenseNetConfig::densenet201(), Facts {
            channels: [256, 512, 1792, 1920],
            shrinks: DENSENET,
            num_params: [20_013_928, 18_092_928],
            gflops: 4.291,
            weights: torchvision("https://download.pytorch.org/models/densenet201-c1103571.pth", "c1103571"),
            ..TORCHVISION
        };
    }
    /// ConvNeXt-T or -S.
    ConvNeXt {
        /// ConvNeXt-T.
        ConvNeXtTiny "convnext_tiny" = ConvNeXtConfig::tiny(), Facts {
            channels: [96, 192, 384, 768],
            shrinks: ROUNDED_DOWN,
            num_params: [28_589_128, 27_818_592],
            gflops: 4.456,
            preprocess: PublishedInput::IMAGENET.sizes(236, 224),
            weights: torchvision("https://download.pytorch.org/models/convnext_tiny-983f1562.pth", "983f1562"),
            ..TORCHVISION
        };
        /// ConvNeXt-S.
        ConvNeXtSmall "convnext_small" = ConvNeXtConfig::small(), Facts {
            channels: [96, 192, 384, 768],
            shrinks: ROUNDED_DOWN,
            num_params: [50_223_688, 49_453_152],
            gflops: 8.684,
            preprocess: PublishedInput::IMAGENET.sizes(230, 224),
            weights: torchvision("https://download.pytorch.org/models/convnext_small-0c510722.pth", "0c510722"),
            ..TORCHVISION
        };
    }
    /// Swin-T or SwinV2-T.
    Swin {
        /// Swin-T, windows of 7.
        SwinTiny "swin_t" = SwinConfig::tiny(), Facts {
            channels: [96, 192, 384, 768],
            shrinks: SWIN,
            num_params: [28_288_354, 27_519_354],
            gflops: 4.491,
            preprocess: PublishedInput::IMAGENET.sizes(232, 224).bicubic(),
            weights: torchvision("https://download.pytorch.org/models/swin_t-704ceda3.pth", "704ceda3"),
            ..TORCHVISION
        };
        /// SwinV2-T, windows of 8.
        SwinV2Tiny "swin_v2_t" = SwinConfig::v2_tiny(), Facts {
            channels: [96, 192, 384, 768],
            shrinks: SWIN,
            num_params: [28_351_570, 27_582_570],
            gflops: 4.938,
            preprocess: PublishedInput::IMAGENET.sizes(260, 256).bicubic(),
            weights: torchvision("https://download.pytorch.org/models/swin_v2_t-b137f0e2.pth", "b137f0e2"),
            ..TORCHVISION
        };
    }
    /// ViT-S or ViT-B, with patches of 16 pixels or, from DINOv2, of 14.
    VisionTransformer {
        /// ViT-S/16; the published weights are DeiT-S's, which is the same architecture.
        ViTSmall16 "vit_small_patch16_224" = VisionTransformerConfig::small_16(), Facts {
            channels: [384; 4],
            strides: [16; 4],
            shrinks: PATCHES_16,
            num_params: [22_050_664, 21_665_664],
            gflops: 4.599,
            preprocess: PublishedInput::IMAGENET.sizes(248, 224).bicubic(),
            keys: KeyStyle::Timm,
            weights: Some(PublishedWeights {
                url: "https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth",
                sha256: "cd65a155",
                licence: "Apache-2.0 (DeiT), trained on ImageNet",
            }),
            ..TORCHVISION
        };
        /// ViT-B/16, trained on ImageNet-21k, then on ImageNet.
        ViTBase16 "vit_base_patch16_224" = VisionTransformerConfig::base_16(), Facts {
            channels: [768; 4],
            strides: [16; 4],
            shrinks: PATCHES_16,
            num_params: [86_567_656, 85_798_656],
            gflops: 17.564,
            preprocess: PublishedInput::IMAGENET.sizes(248, 224).bicubic().grey(0.5, 0.5),
            keys: KeyStyle::Timm,
            weights: timm("https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth", "80ecf9dd"),
            ..TORCHVISION
        };
        /// DINOv2's ViT-S/14; published without a classifier.
        DinoV2Small14 "vit_small_patch14_dinov2" = VisionTransformerConfig::dino_v2_small_14(), Facts {
            channels: [384; 4],
            strides: [14; 4],
            shrinks: PATCHES_14,
            num_params: [22_441_192, 22_056_192],
            gflops: 6.124,
            preprocess: PublishedInput::IMAGENET.sizes(518, 518).bicubic(),
            keys: KeyStyle::Timm,
            weights: dino_v2(
                "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
                "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
            ),
            ..TORCHVISION
        };
        /// DINOv2's ViT-B/14; published without a classifier.
        DinoV2Base14 "vit_base_patch14_dinov2" = VisionTransformerConfig::dino_v2_base_14(), Facts {
            channels: [768; 4],
            strides: [14; 4],
            shrinks: PATCHES_14,
            num_params: [87_348_712, 86_579_712],
            gflops: 23.162,
            preprocess: PublishedInput::IMAGENET.sizes(518, 518).bicubic(),
            keys: KeyStyle::Timm,
            weights: dino_v2(
                "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
                "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
            ),
            ..TORCHVISION
        };
    }
    /// SqueezeNet 1.1.
    SqueezeNet {
        /// SqueezeNet 1.1.
        SqueezeNet "squeezenet1_1" = SqueezeNetConfig::new(), Facts {
            channels: [128, 256, 384, 512],
            strides: [4, 8, 16, 16],
            shrinks: SQUEEZENET,
            num_params: [1_235_496, 722_496],
            gflops: 0.349,
            weights: torchvision("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
            ..TORCHVISION
        };
    }
    /// VGG-16.
    Vgg16 {
        /// VGG-16 without normalization.
        Vgg16 "vgg16" = Vgg16Config::new(), Facts {
            channels: [128, 256, 512, 512],
            shrinks: ROUNDED_DOWN,
            num_params: [138_357_544, 14_714_688],
            gflops: 15.47,
            weights: torchvision("https://download.pytorch.org/models/vgg16-397923af.pth", "397923af"),
            ..TORCHVISION
        };
    }
    /// Inception-V3.
    InceptionV3 {
        /// Inception-V3 without the auxiliary classifier.
        InceptionV3 "inception_v3" = InceptionV3Config::new(), Facts {
            channels: [192, 288, 768, 2048],
            min_size: 75,
            shrinks: INCEPTION,
            num_params: [23_834_568, 21_785_568],
            gflops: 2.838,
            preprocess: PublishedInput::IMAGENET.sizes(342, 299),
            weights: Some(PublishedWeights {
                url: "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
                sha256: "0cc3c7bd",
                licence: "BSD-3-Clause (torchvision), ported from TensorFlow (Apache-2.0), trained on ImageNet",
            }),
            ..TORCHVISION
        };
    }
    /// Xception.
    Xception {
        /// Xception, timm's `legacy_xception`.
        Xception "legacy_xception" = XceptionConfig::new(), Facts {
            channels: [128, 256, 728, 2048],
            shrinks: XCEPTION,
            num_params: [22_855_952, 20_806_952],
            gflops: 4.553,
            preprocess: PublishedInput { mean: [0.5; 3], std: [0.5; 3], ..PublishedInput::IMAGENET.sizes(333, 299).bicubic() },
            keys: KeyStyle::Timm,
            weights: Some(PublishedWeights {
                url: "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/xception-43020ad28.pth",
                sha256: "43020ad28",
                licence: "Apache-2.0 (timm), ported from Keras, trained on ImageNet",
            }),
            ..TORCHVISION
        };
    }
}

impl BackboneKind {
    /// Channels of the last feature map.
    pub const fn num_features(self) -> usize {
        self.facts().channels[3]
    }

    /// Channels of the four stages.
    pub const fn stage_channels(self) -> [usize; 4] {
        self.facts().channels
    }

    /// Factors by which the four stages are smaller than the image.
    pub const fn stage_strides(self) -> [usize; 4] {
        self.facts().strides
    }

    /// Sides of the four stages' maps for images of a side, in pixels; [`stage_strides`](Self::stage_strides) leaves open how
    /// fractions are rounded and what is lost at the edges.
    pub fn stage_sides(self, image: usize) -> [usize; 4] {
        stage_sides(&self.facts().shrinks, image)
    }

    /// Height and width from which on images of every size are accepted.
    pub const fn min_size(self) -> usize {
        self.facts().min_size
    }

    /// Trainable parameters as torchvision counts them, with the classifier of 1000 classes.
    pub const fn num_params(self) -> usize {
        self.facts().num_params[0]
    }

    /// Trainable parameters without the classifier.
    pub const fn num_params_without_classifier(self) -> usize {
        self.facts().num_params[1]
    }

    /// Billions of multiply-adds for one image of 224 × 224 pixels, with the classifier of 1000 classes, counted as
    /// torchvision counts them (`_ops`; half of what PyTorch's `FlopCounterMode` says).
    pub const fn gflops(self) -> f64 {
        self.facts().gflops
    }

    /// The preprocessing of the published weights.
    pub const fn published_input(self) -> PublishedInput {
        self.facts().preprocess
    }

    /// Whose names the tensors of the published weights have.
    pub const fn key_style(self) -> KeyStyle {
        self.facts().keys
    }

    /// The published ImageNet weights; `None` if there are none. Where torchvision has two versions, the first
    /// (`IMAGENET1K_V1`), which the papers used.
    pub const fn published_weights(self) -> Option<PublishedWeights<'static>> {
        self.facts().weights
    }
}

impl fmt::Display for BackboneKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for BackboneKind {
    type Err = BackboneError;

    fn from_str(name: &str) -> Result<Self, BackboneError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| BackboneError::UnknownKind {
            name: name.to_string(),
            known: Self::ALL.map(Self::name).to_vec(),
        })
    }
}

impl AnyBackbone {
    /// Loads published weights, see [`load_weights`].
    ///
    /// # Errors
    ///
    /// As [`load_weights`].
    pub fn load_weights(self, file: impl AsRef<Path>, options: LoadOptions) -> Result<Self, BackboneError> {
        Ok(inside!(self, network => load_weights(network, file, options)?.into()))
    }

    /// Saves the weights under published names, see [`save_weights`].
    ///
    /// # Errors
    ///
    /// As [`save_weights`].
    pub fn save_weights(&self, file: impl AsRef<Path>) -> Result<(), BackboneError> {
        inside!(self, network => save_weights(network, file))
    }

    /// The same network for prediction only, with each normalization merged into its convolution: faster, and
    /// no longer loadable from or savable to published weights.
    pub fn fold_batch_norm(self) -> Self {
        inside!(self, network => network.fold_batch_norm().into())
    }
}

impl Backbone for AnyBackbone {
    fn forward_stage(&self, stage: usize, input: Tensor<4>) -> Tensor<4> {
        inside!(self, network => network.forward_stage(stage, input))
    }

    fn stage_map(&self, result: Tensor<4>) -> Tensor<4> {
        inside!(self, network => network.stage_map(result))
    }

    fn with_stage_map(&self, result: Tensor<4>, map: Tensor<4>) -> Tensor<4> {
        inside!(self, network => network.with_stage_map(result, map))
    }

    fn finish_stage(&self, stage: usize, result: Tensor<4>) -> Tensor<4> {
        inside!(self, network => network.finish_stage(stage, result))
    }

    fn num_features(&self) -> usize {
        inside!(self, network => network.num_features())
    }

    fn stage_channels(&self) -> [usize; 4] {
        inside!(self, network => network.stage_channels())
    }

    fn stage_strides(&self) -> [usize; 4] {
        inside!(self, network => network.stage_strides())
    }

    fn stage_sides(&self, image: usize) -> [usize; 4] {
        inside!(self, network => network.stage_sides(image))
    }

    fn parameter_groups(&self) -> Vec<ParameterGroup> {
        inside!(self, network => network.parameter_groups())
    }
}

impl Pretrained for AnyBackbone {
    fn num_classes(&self) -> Option<usize> {
        inside!(self, network => network.num_classes())
    }

    fn forward_logits(&self, images: Tensor<4>) -> Tensor<2> {
        inside!(self, network => network.forward_logits(images))
    }

    /// Accepts the paths of this enum (`ResNet.stem.conv.weight`) and those of the network inside.
    fn published_key(&self, path: &str) -> String {
        let inner = path.strip_prefix(self.family()).and_then(|path| path.strip_prefix('.'));
        let path = inner.unwrap_or(path);
        inside!(self, network => network.published_key(path))
    }

    fn modern_key(&self, key: &str) -> String {
        inside!(self, network => network.modern_key(key))
    }

    fn classifier_prefix(&self) -> &'static str {
        inside!(self, network => network.classifier_prefix())
    }

    fn ignored_prefixes(&self) -> &'static [&'static str] {
        inside!(self, network => network.ignored_prefixes())
    }

    fn published_constants(&self) -> Vec<PublishedConstant> {
        inside!(self, network => network.published_constants())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in BackboneKind::ALL {
            assert_eq!(kind.to_string().parse::<BackboneKind>().unwrap(), kind);
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = "resnet51".parse::<BackboneKind>().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unknown backbone `resnet51`: use one of {}", BackboneKind::ALL.map(BackboneKind::name).join(", "))
        );
    }
}
