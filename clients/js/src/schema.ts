// What is needed of Standard Schema (https://standardschema.dev), so that any library of it fits. Types, mostly.

import { StreamError } from "./errors.js";
import { parsed, type Reader } from "./read.js";

/** A schema of any library that implements Standard Schema, version 1. */
export interface Schema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<Output> | Promise<Validated<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type Validated<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<{ readonly message: string }> };

/** A schema for each name of an event. */
export type Schemas = Record<string, Schema>;

/** The types of data that schemas describe. */
export type Outputs<S extends Schemas> = {
  [K in keyof S]: NonNullable<S[K]["~standard"]["types"]>["output"];
};

/** Makes a value for the option `read` from a schema for each name of an event. Events with other names are left out. */
export function schemas<S extends Schemas>(schemas: S): Reader<Outputs<S>> {
  return async (type, text) => {
    const schema = Object.hasOwn(schemas, type) && schemas[type];
    if (!schema) return undefined;
    const { issues, ...result } = await schema["~standard"].validate(parsed(type, text));
    if (!issues) return { data: (result as { value: unknown }).value };
    const said = issues.map((issue) => issue.message).join("; ");
    throw new StreamError("invalid", `the data of an event "${type}" does not fit its schema: ${said}`, { issues });
  };
}
