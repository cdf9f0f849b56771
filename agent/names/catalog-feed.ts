import type {Catalog} from '../catalog/catalog.ts';
import type {Change, Item} from '../catalog/collection.ts';
import type {ServiceInstance} from '../catalog/model.ts';
import {containerEntry, instanceEntry, serviceEntry} from './catalog-entries.ts';
import type {NameEntry} from './entry.ts';
import type {NameTable} from './table.ts';

/** Keeps the table of names in step with the catalog; gives what ends it. */
export function feedTable(table: NameTable, {containers, instances, services}: Catalog): () => void {
  const put = (entries: readonly NameEntry[]) => {
    for (const entry of entries) table.put(entry);
  };
  const putInstance = (instance: ServiceInstance) => {
    table.put(instanceEntry(instance, services.find(`${instance.namespace}/${instance.name}`)?.value));
  };
  const ends = [
    containers.subscribe((changes) => {
      forget(table, 'container', changes);
      put(present(changes).map(containerEntry));
    }),
    services.subscribe((changes) => {
      forget(table, 'service', changes);
      put(
        present(changes)
          .filter(({addresses}) => addresses.length > 0)
          .map(serviceEntry),
      );
      // Whether a service has an address decides about the names of its instances.
      const changed = new Set(changes.map(({key}) => key));
      for (const each of instances.list())
        if (changed.has(`${each.namespace}/${each.name}`)) putInstance(each);
    }),
    instances.subscribe((changes) => {
      forget(table, 'instance', changes);
      for (const each of present(changes)) putInstance(each);
    }),
  ];
  return () => {
    for (const end of ends) end();
  };
}

function forget<Value extends Item>(table: NameTable, kind: string, changes: readonly Change<Value>[]): void {
  for (const {key, after} of changes) if (!after) table.remove(`${kind} ${key}`);
}

function present<Value extends Item>(changes: readonly Change<Value>[]): readonly Value[] {
  return changes.flatMap(({after}) => (after ? [after.value] : []));
}
