/** Random bytes of a cryptographic generator. */
export type Entropy = (bytes: number) => Buffer

/** A Secret or ConfigMap as far as we use them: bytes by name, and the version that was read. */
export interface Shelf {
  readonly content: Readonly<Record<string, Uint8Array>>
  readonly version: string
}

/** Where keys and the bundle are kept. Writes name the version they replace (`undefined`: must not exist) and say if it was another's. */
export interface Cabinet {
  read(kind: ShelfKind, name: string, signal: AbortSignal): Promise<Shelf | undefined>
  write(
    place: { readonly kind: ShelfKind; readonly name: string; readonly version: string | undefined },
    content: Shelf['content'],
    signal: AbortSignal,
  ): Promise<'stored' | 'conflict'>
}
export type ShelfKind = 'Secret' | 'ConfigMap'

/** What issuing wants to know of a pod; read from the API server, not from a cache, where it decides. */
export interface Pod {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly serviceAccount: string
  readonly nodeName: string
  readonly phase: string
  readonly deleting: boolean
  readonly labels: Readonly<Record<string, string>>
  /** Regular and init containers of the spec. */
  readonly containers: readonly Container[]
  readonly statuses: readonly ContainerStatus[]
}
export interface Container {
  readonly name: string
  readonly image: string
  readonly init: boolean
}
export interface ContainerStatus {
  readonly name: string
  readonly restartCount: number
  /** Empty until the kubelet has reported it. */
  readonly containerId: string
}

/** TokenReview, in full: the steps of attestation judge it. */
export interface Review {
  readonly authenticated: boolean
  readonly error: string
  readonly audiences: readonly string[]
  readonly username: string
  readonly extra: Readonly<Record<string, readonly string[]>>
}

/** The pin of a pod's key. */
export interface Pin {
  readonly namespace: string
  readonly pod: string
  readonly serviceAccount: string
  readonly container: string
  /** Of that container, when a SidecarProfile last vouched for it. */
  readonly image: string
  /** SHA-256 of the SPKI, hex: of the newest key, and of the one that asked for it. */
  readonly current: string
  readonly previous: string
  readonly restartCount: number
  readonly containerId: string
}
export interface PinStored {
  readonly pin: Pin
  readonly version: string
}

export interface Registry {
  pod(namespace: string, name: string, signal: AbortSignal): Promise<Pod | undefined>
  review(token: string, audience: string, signal: AbortSignal): Promise<Review>
  pin(podUid: string, signal: AbortSignal): Promise<PinStored | undefined>
  /** `version` undefined: create if absent. */
  setPin(
    podUid: string,
    pin: Pin,
    version: string | undefined,
    signal: AbortSignal,
  ): Promise<'stored' | 'conflict'>
  pins(signal: AbortSignal): Promise<readonly { readonly podUid: string; readonly stored: PinStored }[]>
  removePin(podUid: string, version: string, signal: AbortSignal): Promise<void>
}
