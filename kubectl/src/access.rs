//! Reaching the cluster with the user's own kubeconfig.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::plan::BoxError;
use medindex_operator::reconcile::call::bounded;

use crate::arguments::AccessArguments;
use crate::error::PluginError;

/// The API server, and the namespace that is meant.
#[derive(Clone)]
pub struct Access {
    /// The API server.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
}

impl Access {
    /// Connects as kubectl would.
    ///
    /// # Errors
    /// [`PluginError::Connect`].
    pub async fn connect(arguments: &AccessArguments) -> Result<Self, PluginError> {
        let config = config(arguments).await.map_err(PluginError::Connect)?;
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| PluginError::Connect(error.into()))?;
        Ok(Self { client, namespace })
    }

    /// The indexes of the namespace.
    pub fn indexes(&self) -> Api<MedicalImageIndex> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One index.
    ///
    /// # Errors
    /// [`PluginError::FindIndex`], [`PluginError::Call`].
    pub async fn index(&self, name: &str) -> Result<MedicalImageIndex, PluginError> {
        let found = bounded(self.indexes().get_opt(name)).await;
        let found = found.map_err(PluginError::call(format!("reading MedicalImageIndex {name}")))?;
        found.ok_or_else(|| PluginError::FindIndex {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
        })
    }
}

async fn config(arguments: &AccessArguments) -> Result<Config, BoxError> {
    let options = KubeConfigOptions { context: arguments.context.clone(), ..KubeConfigOptions::default() };
    match &arguments.kubeconfig {
        Some(path) => Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?),
        None if arguments.context.is_some() => Ok(Config::from_kubeconfig(&options).await?),
        // A kubeconfig, else the account of the pod that this runs in.
        None => Ok(Config::infer().await?),
    }
}
