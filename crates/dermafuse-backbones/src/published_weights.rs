//! Where the weights that others trained are, and under which terms.

/// A file of weights on the internet. Feature `download` adds a method that fetches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedWeights<'a> {
    /// Address; its last part is the file's name.
    pub url: &'a str,
    /// First hexadecimal digits of the file's SHA-256, as many as the publisher gives (torchvision: eight, in the name).
    pub sha256: &'a str,
    /// Licence and origin.
    pub licence: &'a str,
}

impl<'a> PublishedWeights<'a> {
    /// The name of the file: the last part of the address.
    pub fn file_name(&self) -> &'a str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

/// Weights that torchvision trained.
pub(crate) const fn torchvision(url: &'static str, sha256: &'static str) -> Option<PublishedWeights<'static>> {
    Some(PublishedWeights { url, sha256, licence: "BSD-3-Clause (torchvision), trained on ImageNet" })
}

/// Weights that torchvision took from timm.
pub(crate) const fn torchvision_from_timm(
    url: &'static str,
    sha256: &'static str,
) -> Option<PublishedWeights<'static>> {
    let licence = "BSD-3-Clause (torchvision), ported from timm (Apache-2.0), trained on ImageNet";
    Some(PublishedWeights { url, sha256, licence })
}

/// Weights that timm publishes of others' training.
pub(crate) const fn timm(url: &'static str, sha256: &'static str) -> Option<PublishedWeights<'static>> {
    Some(PublishedWeights { url, sha256, licence: "Apache-2.0 (Google, ported by timm), trained on ImageNet" })
}

/// Weights of DINOv2, whose names have no checksum.
pub(crate) const fn dino_v2(url: &'static str, sha256: &'static str) -> Option<PublishedWeights<'static>> {
    Some(PublishedWeights { url, sha256, licence: "Apache-2.0 (DINOv2), trained without labels on LVD-142M" })
}
