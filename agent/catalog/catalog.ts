import {Collection} from './collection.ts';
import type {NamedContainer, ServiceDefinition, ServiceInstance} from './model.ts';

/**
 * What the agent's modules share: who has names, what answers for services, and which services have addresses, here and on other
 * hosts. Each module puts what it knows, and follows what it needs; none knows who put it.
 */
export class Catalog {
  readonly containers = new Collection<NamedContainer>();
  readonly instances = new Collection<ServiceInstance>();
  readonly services = new Collection<ServiceDefinition>();
}
