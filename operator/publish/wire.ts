import type { ServiceDefinition } from '@grpc/grpc-js'
import {
  FeedService,
  SubscribeRequest,
  SubscribeResponse,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'

export type Request = NonNullable<SubscribeRequest['request']>
export type Response = NonNullable<SubscribeResponse['response']>

/** Bytes in, bytes out: a message that cannot be decoded is our refusal, and what many streams are sent is encoded once. */
export const RAW_FEED: ServiceDefinition = {
  subscribe: {
    ...FeedService.subscribe,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  },
}

function same(bytes: Buffer): Buffer {
  return bytes
}

/** undefined: no request of ours. */
export function readRequest(bytes: Buffer): Request | undefined {
  try {
    return SubscribeRequest.decode(bytes).request
  } catch {
    return undefined
  }
}

/** A response without nonce; complete as it is where nothing is to be acknowledged. */
export function encode(response: Response): Buffer {
  return Buffer.from(SubscribeResponse.encode({ nonce: '', response }).finish())
}

/** The same under a nonce. Fields of a protobuf message may be concatenated, so the shared part is not encoded again. */
export function withNonce(nonce: string, body: Buffer): Buffer {
  return Buffer.concat([SubscribeResponse.encode({ nonce, response: undefined }).finish(), body])
}
